import { type DestinationStream, type Logger, pino, stdSerializers } from "pino";

export type { Logger };

/** What a log line must never hold, wherever a field of that name appears at its first three levels. */
const SECRET_FIELDS = [
  "authorization",
  "cookie",
  "password",
  "token",
  "accessToken",
  "refreshToken",
  "secret",
  "privateKey",
  "email",
  "contact",
];

const LEVELS = ["", "*.", "*.*."];

/**
 * Creates the logger of a part: one JSON object per line.
 *
 * Fields with the name of a secret are replaced by `[redacted]`; that is a net below the rule that nobody logs a key, a
 * token or an e-mail address, not a leave to try. Of errors only type, message, stack and causes are written, never what
 * else hangs on them (headers, request details).
 *
 * @param destination - standard output if absent
 */
export function createLogger(options: {
  readonly level: "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";
  /** Which part speaks, e.g. `registry`. */
  readonly component: string;
  readonly destination?: DestinationStream | undefined;
}): Logger {
  const { level, component, destination } = options;
  return pino(
    {
      level,
      base: { component },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: LEVELS.flatMap((at) => SECRET_FIELDS.map((field) => at + field)), censor: "[redacted]" },
      serializers: { err: serializeError },
    },
    destination ?? standardOutput(),
  );
}

// What may wait to be written, in bytes. Lines beyond it are lost.
const MAX_WAITING = 1024 * 1024;

/**
 * Standard output. A line that can't be written, because the disk behind it is full, waits for the next one: what a part
 * does must not end because nobody can read about it, nor go on for ever because its last lines can't be written.
 */
function standardOutput(): DestinationStream {
  const output = pino.destination({ dest: 1, maxLength: MAX_WAITING });
  let failing = false;
  output.on("error", () => {
    failing = true;
  });
  output.on("write", () => {
    failing = false;
  });
  // pino writes at the exit what waits, and tries until it can.
  process.prependListener("exit", () => {
    if (failing) output.destroy();
  });
  return output;
}

function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { message: String(error) };
  const { type, message, stack } = stdSerializers.err(error);
  return { type, message, stack };
}
