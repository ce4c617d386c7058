import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import {
  type DirectoryEntry,
  DirectoryEntrySchema,
  type DirectoryKey,
  Party,
} from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { isAtOrBelow } from "../core/domain.ts";
import { fieldInvalid } from "../core/field-invalid.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { parseUrl } from "../core/url.ts";
import { checkBounds } from "../statement/bounds.ts";
import { keyIdOf } from "../statement/key-id.ts";

/** Where an entry comes from decides what it may say. */
export type EntrySource = {
  /** `preset`: from the configuration, which is trusted. `discovered`: from the domain's well-known document. */
  readonly from: "preset" | "discovered";
  /** Hosts whose URLs may have plain http: for development, and for preset entries alone. None if left out. */
  readonly allowPlainHttp?: (host: string) => boolean;
};

/**
 * Reads an entry from the JSON form of its message, and checks it: bounds, a `base_url` at or below the domain, keys that
 * are good and of a known algorithm. A discovered entry may hold fields that this version does not know; in a preset one
 * they are mistakes.
 *
 * @throws Refusal MALFORMED, FIELD_INVALID, KEY_INVALID or ENDPOINT_NOT_ALLOWED, each with the field
 */
export function parseEntry(json: JsonValue, source: EntrySource): DirectoryEntry {
  const entry = fromJsonOrRefuse(json, source);
  const plain = source.allowPlainHttp === undefined ? {} : { allowPlainHttp: source.allowPlainHttp };
  checkBounds(DirectoryEntrySchema, entry, plain);
  const host = parseUrl(entry.baseUrl, source.allowPlainHttp)?.host;
  if (host === undefined || !isAtOrBelow(host, entry.domain)) {
    throw new Refusal(Reason.ENDPOINT_NOT_ALLOWED, "base_url is not at or below the domain", {
      metadata: { field: "base_url", expected: entry.domain },
    });
  }
  for (const [index, key] of entry.keys.entries()) {
    if (key.algorithm !== KeyAlgorithm.ED25519) throw fieldInvalid(`keys[${index}].algorithm`, "enum");
  }
  // A registry's keys are followed along a chain of signatures. Keys that its document merely states would break the chain.
  if (source.from === "discovered" && entry.party === Party.REGISTRY && entry.keys.length > 0) {
    throw fieldInvalid("keys", "max_items");
  }
  return entry;
}

/** A key and the time in which it counts; 0 stands for no limit. */
export type TimedKey = Pick<DirectoryKey, "publicKey" | "notBefore" | "notAfter">;

/** True if the key counts at `at`, in Unix seconds. */
function countsAt(key: TimedKey, at: number): boolean {
  return at >= Number(key.notBefore) && (key.notAfter === 0n || at < Number(key.notAfter));
}

/** The key with this ID, if it counts at `at` (Unix seconds). */
export function findKey(keys: readonly TimedKey[], keyId: string, at: number): Uint8Array | undefined {
  return keys.find((key) => countsAt(key, at) && keyIdOf(key.publicKey) === keyId)?.publicKey;
}

/** The Provider key with this ID, if the entry holds it and it counts at `now` (Unix seconds). */
export function providerKey(entry: DirectoryEntry, keyId: string, now: number): Uint8Array | undefined {
  return findKey(entry.keys, keyId, now);
}

/**
 * The ID of the Provider key to expect a signature of at `now` (Unix seconds): of those that count, the one that came last,
 * as it will last longest.
 */
export function currentProviderKeyId(entry: DirectoryEntry, now: number): string | undefined {
  const [first, ...others] = entry.keys.filter((key) => countsAt(key, now));
  if (first === undefined) return undefined;
  return keyIdOf(others.reduce((latest, key) => (key.notBefore > latest.notBefore ? key : latest), first).publicKey);
}

function fromJsonOrRefuse(json: JsonValue, { from }: EntrySource): DirectoryEntry {
  try {
    return fromJson(DirectoryEntrySchema, json, { ignoreUnknownFields: from === "discovered" });
  } catch (cause) {
    throw new Refusal(Reason.MALFORMED, "not the JSON form of a DirectoryEntry", { metadata: { field: "" }, cause });
  }
}
