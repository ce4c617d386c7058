import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { type RegistryKey, type RegistryKeys, RegistryKeysSchema } from "../../gen/omi/registry/v1/registry_pb.ts";
import type { AnswerHeader, Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { equalBytes } from "../core/bytes.ts";
import { publicKeyProblem } from "../statement/crypto.ts";
import { openAnswer, verifySignature } from "../statement/statement.ts";
import { answerInvalid, checkAnswer } from "./answer-invalid.ts";
import { findKey } from "./entry.ts";

/** A registry's key set as a client trusts it. */
export type TrustedKeys = {
  /** 0 for keys that a preset entry states. */
  readonly version: bigint;
  readonly keys: readonly RegistryKey[];
};

const FIELD = "registry_keys";
const MAX_KEYS = 16;

/**
 * Takes the step from a trusted key set to the one in `statement`, or takes that one as the first if nothing is trusted yet;
 * the caller then vouches for the channel it came through.
 *
 * A later set must be signed by a key that counted, in the trusted set, when it was signed; the first by one of its own.
 *
 * @returns the new set; `trusted` itself if the version is the same
 * @throws Refusal ANSWER_INVALID if the set is for another domain, malformed, older than the trusted one, another one of the
 *   same version, or not signed by a trusted key
 */
export async function followKeys(
  domain: string,
  trusted: TrustedKeys | undefined,
  statement: Statement,
): Promise<TrustedKeys> {
  return checkAnswer(domain, async () => {
    const opened = openAnswer(RegistryKeysSchema, statement, { field: FIELD });
    const { message, header } = opened;
    checkContent(domain, message);
    if (trusted !== undefined && message.version <= trusted.version) {
      if (message.version === trusted.version && equalSets(message.keys, trusted.keys)) return trusted;
      throw answerInvalid(domain, `${FIELD}.version`, "a key set that was replaced");
    }
    const signer = signerOf(trusted?.keys ?? message.keys, header);
    if (signer === undefined)
      throw answerInvalid(domain, `${FIELD}.header.signer`, "no trusted key signed the key set");
    await verifySignature(opened, signer);
    return { version: message.version, keys: message.keys };
  });
}

/** What the set in `statement` says of itself: its version, and whether a key that counts in `trusted` is its signer. */
export async function peekKeys(
  domain: string,
  trusted: TrustedKeys,
  statement: Statement,
): Promise<{ readonly version: bigint; readonly follows: boolean }> {
  const { message, header } = await checkAnswer(domain, () =>
    openAnswer(RegistryKeysSchema, statement, { field: FIELD }),
  );
  return { version: message.version, follows: signerOf(trusted.keys, header) !== undefined };
}

function signerOf(keys: readonly RegistryKey[], { signer, issuedAt }: AnswerHeader): Uint8Array | undefined {
  return findKey(keys, signer, Number(issuedAt));
}

function checkContent(domain: string, message: RegistryKeys): void {
  if (message.domain !== domain) throw answerInvalid(domain, `${FIELD}.domain`, "the key set of another domain");
  if (message.version === 0n) throw answerInvalid(domain, `${FIELD}.version`, "versions count from 1");
  if (message.keys.length === 0 || message.keys.length > MAX_KEYS) {
    throw answerInvalid(domain, `${FIELD}.keys`, `a set has 1 to ${MAX_KEYS} keys`);
  }
  for (const [index, key] of message.keys.entries()) {
    if (key.algorithm !== KeyAlgorithm.ED25519 || publicKeyProblem(key.publicKey) !== undefined) {
      throw answerInvalid(domain, `${FIELD}.keys[${index}]`, "not a usable key");
    }
  }
}

function equalSets(a: readonly RegistryKey[], b: readonly RegistryKey[]): boolean {
  return a.length === b.length && a.every((key, index) => equalKeys(key, b[index]));
}

function equalKeys(a: RegistryKey, b: RegistryKey | undefined): boolean {
  return (
    b !== undefined && equalBytes(a.publicKey, b.publicKey) && a.notBefore === b.notBefore && a.notAfter === b.notAfter
  );
}
