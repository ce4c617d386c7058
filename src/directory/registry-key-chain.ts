import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { answerInvalid } from "./answer-invalid.ts";
import { followKeys, peekKeys, type TrustedKeys } from "./registry-keys.ts";

// Bound on what a registry can make this client do at once. One that replaces its keys every month needs 21 years for it.
const MAX_LINKS = 256;

/**
 * Takes the steps from a trusted key set to the current one: one step if a trusted key signed that, else one for each set
 * in between, which the registry lists. Sets from before the keys of a preset entry are passed over.
 *
 * @param current - the set that the registry says is in force
 * @param listKeys - reads a page of the registry's sets after a version, by ascending version; empty if there is none
 * @returns the current set; if the way is longer than 256 sets, the set that it came to, from where the next call goes on
 * @throws Refusal ANSWER_INVALID if a set of the chain is not signed by a key of the one before it, or wrong in another way
 *   that {@link followKeys} names; what `listKeys` throws
 */
export async function followChain(
  domain: string,
  trusted: TrustedKeys,
  current: Statement,
  listKeys: (afterVersion: bigint) => Promise<readonly Statement[]>,
): Promise<TrustedKeys> {
  const end = await peekKeys(domain, trusted, current);
  let reached = trusted;
  let after = trusted.version;
  let links = 0;
  let missed = end.follows || end.version <= after ? [] : await listKeys(after);
  while (missed.length > 0) {
    for (const next of missed) {
      const { version, follows } = await peekKeys(domain, reached, next);
      if (version <= after) throw answerInvalid(domain, "key_sets", "the versions do not ascend");
      // A set that was published meanwhile is for another time.
      if (version >= end.version) return followKeys(domain, reached, current);
      if (++links > MAX_LINKS) return reached;
      if (follows || reached.version > 0n) reached = await followKeys(domain, reached, next);
      after = version;
    }
    missed = await listKeys(after);
  }
  return followKeys(domain, reached, current);
}
