import { HeadsSchema } from "../../gen/omi/event/v1/event_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { sign } from "./answers.ts";
import { type RegistryCore, registryTime } from "./core.ts";

/** For how long heads may be relied on, in seconds. */
const headsLifeSeconds = 10;

/**
 * Signs where the log and some apps stand now.
 *
 * @param answering the encoded request that this answers, and the index of an entry whose hash the caller wants; none if it
 *   answers no request
 */
export function signHeads(
  core: RegistryCore,
  appIds: Iterable<string>,
  { query, knownLogIndex }: { query: Uint8Array; knownLogIndex: bigint } = {
    query: new Uint8Array(),
    knownLogIndex: 0n,
  },
): Statement {
  const now = registryTime(core);
  const head = core.log.head();
  const apps = [...new Set(appIds)].sort().flatMap((appId) => {
    const app = core.store.appState(appId);
    return app === undefined ? [] : [{ appId, sequence: BigInt(app.sequence) }];
  });
  const expiresAt = Math.min(now + headsLifeSeconds, core.keyring.signingKeyEnd(now));
  return sign(core, HeadsSchema, now, {
    header: { issuedAt: BigInt(now), expiresAt: BigInt(expiresAt), query },
    origin: core.domain,
    logIndex: BigInt(head.index),
    logHash: head.hash,
    apps,
    knownLogHash: core.log.hashAt(knownLogIndex),
  });
}
