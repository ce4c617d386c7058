import { create } from "@bufbuild/protobuf";
import type { DirectoryEntry, DirectoryKey } from "../../gen/omi/directory/v1/directory_pb.ts";
import { type RegistryKey, RegistryKeySchema } from "../../gen/omi/registry/v1/registry_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import type { Clock } from "../core/clock.ts";
import { keyIdOf } from "../statement/key-id.ts";
import { findKey } from "./entry.ts";
import type { PinStore } from "./pin-store.ts";
import { followChain } from "./registry-key-chain.ts";
import { followKeys, type TrustedKeys } from "./registry-keys.ts";

/** What {@link RegistryTrust} needs. */
export type RegistryTrustOptions = {
  readonly domain: string;
  readonly clock: Clock;
  readonly pinStore: PinStore;
  /** Reads the registry's directory entry. */
  readonly readEntry: () => Promise<DirectoryEntry>;
  /** Asks the registry itself for its current key set; nothing of the answer is believed but what {@link followChain} accepts. */
  readonly fetchKeys: () => Promise<Statement>;
  /** Asks the registry itself for a page of its key sets after a version, by ascending version; empty if there is none. */
  readonly listKeys: (afterVersion: bigint) => Promise<readonly Statement[]>;
};

const FIRST_CONTACT = "first-contact";

// An answer by an unknown key makes the client ask for the current key set, but not more often than this.
const MIN_REFRESH_MS = 10_000;

/**
 * Which keys of one registry this party trusts, now and for its older records.
 *
 * Trust begins with the keys of a preset entry, or else with the set that the registry states at first contact, which TLS
 * vouches for (in development a preset entry may have plain http; such a contact is never kept). From there on it follows
 * the registry's key sets only along a chain of signatures, never back.
 */
export class RegistryTrust {
  readonly #options: RegistryTrustOptions;
  #trusted: TrustedKeys | undefined;
  #refreshing: Promise<TrustedKeys> | undefined;
  #refreshedAt = Number.NEGATIVE_INFINITY;

  constructor(options: RegistryTrustOptions) {
    this.#options = options;
  }

  /**
   * The key with this ID, if it is the registry's and counts at `at` (Unix seconds).
   *
   * @throws Refusal ANSWER_INVALID if the registry states a key set that must not be followed; what reading the entry or
   *   asking the registry throws
   */
  async keyAt(keyId: string, at: number): Promise<Uint8Array | undefined> {
    const trusted = this.#trusted ?? (await this.#refresh());
    if (trusted.keys.some((key) => keyIdOf(key.publicKey) === keyId)) return findKey(trusted.keys, keyId, at);
    if (this.#refreshing === undefined && this.#askedLately()) return undefined;
    return findKey((await this.#refresh()).keys, keyId, at);
  }

  /** False if the clock was set back since. */
  #askedLately(): boolean {
    const since = this.#options.clock.now() - this.#refreshedAt;
    return since >= 0 && since < MIN_REFRESH_MS;
  }

  /** One refresh at a time; all who ask meanwhile get its result. */
  #refresh(): Promise<TrustedKeys> {
    this.#refreshing ??= this.#follow().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #follow(): Promise<TrustedKeys> {
    const { domain, clock, readEntry, fetchKeys, listKeys } = this.#options;
    const entry = await readEntry();
    if (this.#trusted === undefined) {
      this.#trusted = this.#begin(entry);
      // Known keys are enough to begin with. If the answer at hand is signed by another one, keyAt comes back.
      if (this.#trusted !== undefined) return this.#trusted;
    }
    this.#refreshedAt = clock.now();
    // At first contact the document of the domain itself counts for more than an answer of the host that serves its RPCs.
    const next =
      this.#trusted === undefined
        ? await followKeys(domain, undefined, entry.registryKeys ?? (await fetchKeys()))
        : await followChain(domain, this.#trusted, await fetchKeys(), listKeys);
    if (next !== this.#trusted) this.#keep(entry, next);
    this.#trusted = next;
    return next;
  }

  /** The keys of a pin, or else those of a preset entry; undefined at first contact. */
  #begin(entry: DirectoryEntry): TrustedKeys | undefined {
    const { domain, pinStore } = this.#options;
    const pin = pinStore.load(domain);
    if (pin !== undefined && pin.anchor === anchorOf(entry)) return pin;
    if (entry.keys.length === 0) return undefined;
    return { version: 0n, keys: entry.keys.map(toRegistryKey) };
  }

  #keep(entry: DirectoryEntry, { version, keys }: TrustedKeys): void {
    const anchor = anchorOf(entry);
    // Anybody on the way could have answered a first contact over plain http.
    if (anchor === FIRST_CONTACT && !entry.baseUrl.startsWith("https:")) return;
    this.#options.pinStore.save({ domain: this.#options.domain, anchor, version, keys });
  }
}

function anchorOf(entry: DirectoryEntry): string {
  if (entry.keys.length === 0) return FIRST_CONTACT;
  return entry.keys
    .map((key) => keyIdOf(key.publicKey))
    .sort()
    .join(",");
}

function toRegistryKey({ publicKey, algorithm, notBefore, notAfter }: DirectoryKey): RegistryKey {
  return create(RegistryKeySchema, { publicKey, algorithm, notBefore, notAfter });
}
