import type { RegistryKey } from "../../gen/omi/registry/v1/registry_pb.ts";

/** A registry's key set that a client decided to trust. */
export type Pin = {
  /** The registry. */
  readonly domain: string;
  /**
   * What the trust began with: the key IDs of the preset entry, or `first-contact`. When the configuration begins with
   * something else, the pin no longer holds.
   */
  readonly anchor: string;
  /** The version of the set; 0 for keys that a preset entry states. */
  readonly version: bigint;
  /** The keys. */
  readonly keys: readonly RegistryKey[];
};

/**
 * Where a client remembers the registries' keys across restarts. Losing a pin means a new first contact, so a store is
 * kept as carefully as the keys it protects. One process at a time.
 */
export interface PinStore {
  /** The pin of a domain; undefined if there is none. */
  load(domain: string): Pin | undefined;
  /** Keeps a pin in place of an older one of its domain; durable on return. */
  save(pin: Pin): void;
}

/** Forgets all when the process ends: for tests, and for clients whose registries are all preset. */
export function createMemoryPinStore(): PinStore {
  const pins = new Map<string, Pin>();
  return { load: (domain) => pins.get(domain), save: (pin) => void pins.set(pin.domain, pin) };
}
