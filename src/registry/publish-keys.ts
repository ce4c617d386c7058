import { create } from "@bufbuild/protobuf";
import { RegistryKeysPublishedSchema } from "../../gen/omi/registry/v1/log_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { statementId } from "../statement/statement.ts";
import { commit } from "./commit.ts";
import { type RegistryCore, registryTime } from "./core.ts";
import { decodeStatement } from "./keyring.ts";
import type { RegistryStore } from "./store.ts";

/**
 * Publishes the configured key set if it differs from the one in force; the first one is the log's first entry.
 *
 * @throws if clients could not follow from the set in force to the configured one
 */
export async function publishKeys(core: RegistryCore): Promise<void> {
  await core.queue.run("publish-keys", () => {
    const now = registryTime(core);
    const latest = core.store.latestKeySet();
    const next = core.keyring.nextKeySet(latest && decodeStatement(latest.statement), now);
    if (next === undefined) return;
    const { statement, version } = next;
    const effect = create(RegistryKeysPublishedSchema, { version });
    commit(core, { id: statementId(statement), statement, effect, private: false }, now);
  });
}

/** The key set in force. */
export function publishedKeySet(store: RegistryStore): Statement {
  const latest = store.latestKeySet();
  if (latest === undefined) throw new Error("the registry has not published its keys");
  return decodeStatement(latest.statement);
}
