import { Format } from "../../gen/omi/options/v1/options_pb.ts";
import { parseAppId } from "../core/app-id.ts";
import type { Clock } from "../core/clock.ts";
import { fieldInvalid } from "../core/field-invalid.ts";
import { LruCache } from "../core/lru-cache.ts";
import type { Random } from "../core/random.ts";
import { Reason } from "../core/refusal.ts";
import type { Dialer } from "../rpc/client/dial.ts";
import { describeFormat } from "../statement/format.ts";
import type { Directory } from "./directory.ts";
import { createMemoryPinStore, type PinStore } from "./pin-store.ts";
import { RegistryClient } from "./registry-client.ts";
import { createTransports } from "./transports.ts";

/** The registries of the mesh. */
export interface Registries {
  /**
   * The registry that an AppID names, the only one that may answer for the app.
   *
   * @throws Refusal FIELD_INVALID for a text that is no AppID
   */
  forApp(appId: string): RegistryClient;
  /** The registry of a domain; whether it is one shows when it is called. */
  forDomain(domain: string): RegistryClient;
  /** Ends what is under way and closes the connections. */
  close(): void;
}

/** What {@link createRegistries} needs. */
export type RegistriesOptions = {
  readonly directory: Directory;
  readonly dialer: Dialer;
  readonly clock: Clock;
  readonly random: Random;
  /** Remembers registry keys across restarts. Left out: they are forgotten when the process ends. */
  readonly pinStore?: PinStore;
  /** The time for one call, in milliseconds. */
  readonly defaultDeadlineMs?: number;
};

const DEFAULT_DEADLINE_MS = 10_000;

// Pages of the log are the largest answers.
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

// A client holds what it has seen of its registry, so it is kept; but AppIDs, and with them domains, come from strangers.
const MAX_CLIENTS = 1000;

/** Makes the clients of registries, one for each domain. */
export function createRegistries(options: RegistriesOptions): Registries {
  const { directory, dialer, clock, random, pinStore = createMemoryPinStore(), defaultDeadlineMs } = options;
  const deadlineMs = defaultDeadlineMs ?? DEFAULT_DEADLINE_MS;
  const { transportOf, close } = createTransports({
    dialer,
    unavailable: Reason.REGISTRY_UNAVAILABLE,
    timeoutMs: deadlineMs,
    readMaxBytes: MAX_ANSWER_BYTES,
  });
  const clients = new LruCache<string, RegistryClient>(MAX_CLIENTS);

  function forDomain(domain: string): RegistryClient {
    let client = clients.get(domain);
    if (client === undefined) {
      client = new RegistryClient({ domain, directory, transportOf, clock, random, pinStore });
      clients.set(domain, client);
    }
    return client;
  }

  return {
    forDomain,
    close,
    forApp(appId) {
      const domain = parseAppId(appId)?.registryDomain;
      if (domain === undefined) {
        throw fieldInvalid("app_id", "format", { must: `must be ${describeFormat(Format.APP_ID)}` });
      }
      return forDomain(domain);
    },
  };
}
