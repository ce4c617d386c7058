import { SetupError } from "../setup-error.ts";
import {
  DiscardPolicy,
  isRefusedByServer,
  type NatsConnection,
  nanos,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from "./client.ts";
import type { StreamSettings } from "./settings.ts";
import { domainToken, registrySubjects, sessionSubjects } from "./subjects.ts";

/** No event is nearly as long, in bytes: a Statement holds at most 64 KiB of data. */
const MAX_MESSAGE_BYTES = 128 * 1024;

/** Which stream, and for what. */
export interface StreamPlan {
  readonly name: string;
  /** For whoever looks at the server. */
  readonly description: string;
  /** What the subjects of its messages match. */
  readonly subjects: string;
}

/** The stream of a registry's events. */
export function registryStream({ name }: Pick<StreamSettings, "name">, registryDomain: string): StreamPlan {
  return {
    name: name ?? `omi_${domainToken(registryDomain)}`,
    description: `events of ${registryDomain}`,
    subjects: registrySubjects(registryDomain),
  };
}

/** The stream of an Auth Provider's session events. Its name is never the one of a registry's stream: that has `_` there. */
export function sessionStream({ name }: Pick<StreamSettings, "name">, authProvider: string): StreamPlan {
  return {
    name: name ?? `omi-sessions_${domainToken(authProvider)}`,
    description: `session events of ${authProvider}`,
    subjects: sessionSubjects(authProvider),
  };
}

/**
 * Makes a stream, or brings the one that is there in line with the settings.
 *
 * @throws SetupError if a stream of this name is there that can't be made to fit
 */
export async function ensureStream(
  connection: NatsConnection,
  { name, description, subjects }: StreamPlan,
  settings: StreamSettings,
): Promise<void> {
  const wanted = {
    description,
    subjects: [subjects],
    discard: DiscardPolicy.Old,
    max_age: nanos(settings.maxAgeSeconds * 1000),
    max_bytes: settings.maxBytes,
    max_msgs: -1,
    max_msgs_per_subject: -1,
    max_msg_size: MAX_MESSAGE_BYTES,
    duplicate_window: nanos(settings.duplicateWindowSeconds * 1000),
    num_replicas: settings.replicas,
    allow_rollup_hdrs: false,
  } satisfies Partial<StreamConfig>;
  const found = await connection.findStream(name);
  if (found === undefined) {
    const fixed = { name, storage: StorageType.File, retention: RetentionPolicy.Limits };
    await attempt(name, () => connection.createStream({ ...wanted, ...fixed }));
    return;
  }
  checkFixed(found, wanted.subjects);
  if (isAsWanted(found.config, wanted)) return;
  await attempt(name, () => connection.updateStream({ ...found.config, ...wanted }));
}

/** What of a stream can't be changed, or must not be changed behind the back of whoever set it up. */
function checkFixed({ config }: StreamInfo, subjects: readonly string[]): void {
  const wrong = [
    [config.storage === StorageType.File, "is not kept in files"],
    [config.retention === RetentionPolicy.Limits, "does not keep messages by age and size"],
    [config.subjects.join(" ") === subjects.join(" "), `is not for exactly the subjects ${subjects.join(" ")}`],
    [config.mirror === undefined && (config.sources ?? []).length === 0, "takes messages from another stream"],
    [config.no_ack !== true, "does not acknowledge what it keeps"],
    [!config.sealed, "is sealed"],
  ] as const;
  const mistakes = wrong.filter(([holds]) => !holds).map(([, mistake]) => mistake);
  if (mistakes.length === 0) return;
  throw new SetupError(
    `the stream ${config.name} ${mistakes.join(", ")}`,
    "Configure another name for the stream, or delete the one that is there: what still counts is published again.",
  );
}

/** The server leaves out of its answer what is false. */
function isAsWanted(config: StreamConfig, wanted: Partial<StreamConfig>): boolean {
  return (Object.keys(wanted) as (keyof StreamConfig)[]).every(
    (key) => JSON.stringify(config[key] ?? false) === JSON.stringify(wanted[key]),
  );
}

async function attempt(name: string, change: () => Promise<void>): Promise<void> {
  try {
    await change();
  } catch (error) {
    if (!isRefusedByServer(error)) throw error;
    throw new SetupError(
      `the stream ${name} could not be made or changed: ${error instanceof Error ? error.message : error}`,
      "Allow it to the user of the part that publishes, give the server room, or set the stream up by hand as the documentation says.",
      error,
    );
  }
}
