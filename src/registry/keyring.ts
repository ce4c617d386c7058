import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { type RegistryKeys, RegistryKeysSchema } from "../../gen/omi/registry/v1/registry_pb.ts";
import { type Statement, StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { equalBytes } from "../core/bytes.ts";
import type { SigningKey } from "../statement/crypto.ts";
import { openAnswer, signStatement } from "../statement/statement.ts";

/** A key of the registry and when it may sign, in Unix seconds; 0 for no bound. */
export interface ConfiguredKey {
  /** The public half alone of a key that has signed its last: it stands in the key set for what it signed before. */
  key: SigningKey | Pick<SigningKey, "publicKey">;
  notBefore: number;
  notAfter: number;
}

type OwnKey = ConfiguredKey & { key: SigningKey };

/** The registry's own keys. The first one that is valid at a time, and whose private half is there, signs at that time. */
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
    return this.#inForce(now).key;
  }

  /**
   * When the key that signs at `now` ends, and with it what it signed and is to expire; Infinity for never. Unix seconds.
   *
   * @throws as {@link signingKey}
   */
  signingKeyEnd(now: number): number {
    return this.#inForce(now).notAfter || Number.POSITIVE_INFINITY;
  }

  /**
   * True if who trusts a key set believes what is signed at `now` (Unix seconds).
   *
   * @throws as {@link signingKey}
   */
  signsFor(set: Statement, now: number): boolean {
    const { publicKey } = this.signingKey(now);
    const { keys } = openAnswer(RegistryKeysSchema, set).message;
    return trustedAt(keys, now).some((key) => equalBytes(key.publicKey, publicKey));
  }

  /**
   * The key set to publish: undefined if `latest` says the same as the configuration.
   *
   * A set is signed by a key that counts in the set before it, so that clients who trust that one can follow. A new key
   * therefore is configured beside an old one first, while that still counts.
   *
   * @param latest the set in force, if any
   * @param now Unix seconds
   * @throws if no key that counts in the set in force is configured any more
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
    const signer = before === undefined ? this.signingKey(now) : this.#keyOf(before, now);
    return { version: next.version, statement: signStatement(RegistryKeysSchema, next, signer) };
  }

  #inForce(now: number): OwnKey {
    const found = this.#keys.find((key): key is OwnKey => canSign(key) && counts(key, now));
    if (found === undefined) throw new Error("no registry key is valid now; configure a new one");
    return found;
  }

  /** A key that whoever trusts `set` trusts at `now`. */
  #keyOf(set: RegistryKeys, now: number): SigningKey {
    const trusted = trustedAt(set.keys, now);
    const found = this.#keys
      .filter(canSign)
      .find(({ key }) => trusted.some(({ publicKey }) => equalBytes(publicKey, key.publicKey)));
    if (found === undefined) {
      throw new Error("no configured registry key counts in the published set; clients could not follow");
    }
    return found.key;
  }
}

function canSign(key: ConfiguredKey): key is OwnKey {
  return "sign" in key.key;
}

function counts({ notBefore, notAfter }: Pick<ConfiguredKey, "notBefore" | "notAfter">, now: number): boolean {
  return notBefore <= now && (notAfter === 0 || now < notAfter);
}

/** Those of a key set's keys that count at a time. */
function trustedAt(keys: RegistryKeys["keys"], now: number): RegistryKeys["keys"] {
  return keys.filter(({ notBefore, notAfter }) =>
    counts({ notBefore: Number(notBefore), notAfter: Number(notAfter) }, now),
  );
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
