import type { Transport } from "@connectrpc/connect";
import type { Clock } from "../core/clock.ts";
import type { Random } from "../core/random.ts";
import { Reason } from "../core/refusal.ts";
import { createDialer, type Dialer } from "../rpc/client/dial.ts";
import { type ClientConfig, plainHosts, privateHosts } from "./client-config.ts";
import { createDirectory, type Directory } from "./directory.ts";
import type { PinStore } from "./pin-store.ts";
import { createRegistries, type Registries } from "./registries.ts";
import { createTransports, type Transports } from "./transports.ts";

/** A party's ways to all others. */
export type Connections = {
  readonly directory: Directory;
  readonly registries: Registries;
  readonly dialer: Dialer;
  /**
   * The way to a party.
   *
   * @param unavailable the Reason with which calls fail if the party can't be reached or does not answer in time;
   *   PROVIDER_UNAVAILABLE if left out
   * @throws Refusal as {@link Directory.lookup} does
   */
  transportFor(domain: string, unavailable?: Reason): Promise<Transport>;
  /** The way to the server at a URL that another party stated. Calls fail as those of {@link transportFor} do. */
  transportTo(baseUrl: string, unavailable?: Reason): Transport;
  /** Hosts whose URLs may have plain http: for `openRequest` and `checkBounds`. */
  readonly allowPlainHttp: (host: string) => boolean;
  /** Ends what is under way and closes all connections. */
  close(): void;
};

/** What {@link createConnections} needs beside the configuration. */
export type ConnectionsDeps = {
  readonly clock: Clock;
  readonly random: Random;
  /** Remembers registry keys across restarts. Left out: they are forgotten when the process ends. */
  readonly pinStore?: PinStore;
  /** Certificates (PEM) of the authorities to trust instead of Node's. */
  readonly ca?: string | Buffer;
  /** The time for one call, in milliseconds. */
  readonly deadlineMs?: number;
};

const DEFAULT_DEADLINE_MS = 10_000;

/**
 * Makes the ways to all other parties from one configuration.
 *
 * @throws ConfigError if the hosts table has mistakes
 */
export function createConnections(config: ClientConfig, deps: ConnectionsDeps): Connections {
  const { clock, random, pinStore, ca, deadlineMs = DEFAULT_DEADLINE_MS } = deps;
  const allowPlainHttp = plainHosts(config);
  const dialer = createDialer({
    hosts: config.hosts,
    allowPlain: allowPlainHttp,
    allowPrivate: privateHosts(config),
    clock,
    ...(ca !== undefined && { ca }),
  });
  const { allowedDomains } = config;
  const directory = createDirectory({
    entries: config.directory,
    dialer,
    clock,
    ...(allowedDomains !== undefined && { allowedDomains }),
  });
  const registries = createRegistries({
    directory,
    dialer,
    clock,
    random,
    defaultDeadlineMs: deadlineMs,
    ...(pinStore !== undefined && { pinStore }),
  });
  const transports = new Map<Reason, Transports>();

  function transportTo(baseUrl: string, unavailable: Reason = Reason.PROVIDER_UNAVAILABLE): Transport {
    let found = transports.get(unavailable);
    if (found === undefined) {
      found = createTransports({ dialer, unavailable, timeoutMs: deadlineMs });
      transports.set(unavailable, found);
    }
    return found.transportOf({ baseUrl });
  }

  return {
    directory,
    registries,
    dialer,
    allowPlainHttp,
    transportTo,
    async transportFor(domain, unavailable) {
      return transportTo((await directory.lookup(domain)).baseUrl, unavailable);
    },
    close() {
      registries.close();
      for (const transport of transports.values()) transport.close();
      dialer.close();
    },
  };
}
