import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { type RegistryKeys, RegistryKeysSchema } from "../../gen/omi/registry/v1/registry_pb.ts";
import { type Statement, StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { equalBytes } from "../core/bytes.ts";
import type { SigningKey } from "../statement/crypto.ts";
import { openAnswer, signStatement } from "../statement/statement.ts";

/** A key of the registry and when it may sign, in Unix seconds; 0 for no bound. */
export interface ConfiguredKey {
  key: SigningKey;
  notBefore: number;
  notAfter: number;
}

/** The registry's own keys. The first one that is valid at a time signs at that time. */
export class Keyring {
  readonly #domain: string;
  readonly #keys: readonly ConfiguredKey[];

  /** @throws if there is no key */
  constructor(domain: string, keys: readonly ConfiguredKey[]) {
    if (keys.length === 0) throw new Error("a registry needs at least one key");
    this.#domain = domain;
    this.#keys = keys;
  }

  /**
   * The key that signs at `now` (Unix seconds).
   *
   * @throws if none is valid, which is the operator's mistake
   */
  signingKey(now: number): SigningKey {
    const found = this.#keys.find((key) => key.notBefore <= now && (key.notAfter === 0 || now < key.notAfter));
    if (found === undefined) throw new Error("no registry key is valid now; configure a new one");
    return found.key;
  }

  /** True if the registry's own key has this ID. */
  has(keyId: string): boolean {
    return this.#keys.some(({ key }) => key.keyId === keyId);
  }

  /**
   * The key set to publish: undefined if `latest` says the same as the configuration.
   *
   * A set is signed by a key of the set before it, so that clients who trust that one can follow. A new key therefore is
   * configured beside an old one first.
   *
   * @param latest the set in force, if any
   * @throws if no key of the set in force is configured any more
   */
  nextKeySet(latest: Statement | undefined, now: number): { version: bigint; statement: Statement } | undefined {
    const keys = this.#keys.map(({ key, notBefore, notAfter }) => ({
      publicKey: key.publicKey,
      algorithm: KeyAlgorithm.ED25519,
      notBefore: BigInt(notBefore),
      notAfter: BigInt(notAfter),
    }));
    const before = latest === undefined ? undefined : openAnswer(RegistryKeysSchema, latest).message;
    const next = create(RegistryKeysSchema, {
      header: { issuedAt: BigInt(now) },
      domain: this.#domain,
      version: (before?.version ?? 0n) + 1n,
      keys,
    });
    if (before !== undefined && sameKeys(before, next)) return undefined;
    const signer = before === undefined ? this.signingKey(now) : this.#keyOf(before);
    return { version: next.version, statement: signStatement(RegistryKeysSchema, next, signer) };
  }

  #keyOf(set: RegistryKeys): SigningKey {
    const trusted = this.#keys.find(({ key }) => set.keys.some((known) => equalBytes(known.publicKey, key.publicKey)));
    if (trusted === undefined) {
      throw new Error("none of the configured registry keys is in the published set; clients could not follow");
    }
    return trusted.key;
  }
}

function sameKeys(a: RegistryKeys, b: RegistryKeys): boolean {
  const bare = ({ keys }: RegistryKeys) => toBinary(RegistryKeysSchema, create(RegistryKeysSchema, { keys }));
  return equalBytes(bare(a), bare(b));
}

/** A Statement as it is stored. */
export function decodeStatement(bytes: Uint8Array): Statement {
  return fromBinary(StatementSchema, bytes);
}

/** A Statement for storing. */
export function encodeStatement(statement: Statement): Uint8Array {
  return toBinary(StatementSchema, statement);
}
