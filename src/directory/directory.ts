import type { DirectoryEntry } from "../../gen/omi/directory/v1/directory_pb.ts";
import type { Clock } from "../core/clock.ts";
import { isDomain } from "../core/domain.ts";
import { LruCache } from "../core/lru-cache.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import type { Dialer } from "../rpc/client/dial.ts";
import { readWellKnown } from "./well-known.ts";

export { providerKey } from "./entry.ts";

/** Which party a domain is, where it answers and which keys speak for it. */
export interface Directory {
  /**
   * The entry of a domain.
   *
   * @throws Refusal PROVIDER_UNKNOWN {domain} if there is none, or none that may be believed; RATE_LIMITED
   *   {retry_after_seconds} if too many unknown domains were asked for
   */
  lookup(domain: string): Promise<DirectoryEntry>;
}

/** What a directory is made of. */
export type DirectoryOptions = {
  /** Preset entries. A domain that has one is never asked. */
  readonly entries: readonly DirectoryEntry[];
  /** Reaches the well-known documents of other domains. */
  readonly dialer: Dialer;
  readonly clock: Clock;
  /** Domains that may be asked beside the preset ones. Left out: any; empty: none. */
  readonly allowedDomains?: readonly string[];
};

const ENTRY_LIFETIME_MS = 300_000;
const FAILURE_LIFETIME_MS = 30_000;
const CACHE_SIZE = 1000;

// Domains come from strangers, so looking them up must not make this party a tool for calling others.
const MAX_FETCHES_PER_MINUTE = 120;
const MINUTE_MS = 60_000;

type Cached = { readonly at: number; readonly outcome: DirectoryEntry | Refusal };

/** Makes a directory: preset entries first, then what domains say of themselves, cached for 5 minutes, failures for 30 s. */
export function createDirectory({ entries, dialer, clock, allowedDomains }: DirectoryOptions): Directory {
  const preset = new Map(entries.map((entry) => [entry.domain, entry]));
  const allowed = allowedDomains === undefined ? undefined : new Set(allowedDomains);
  const cache = new LruCache<string, Cached>(CACHE_SIZE);
  const underway = new Map<string, Promise<DirectoryEntry>>();
  const fetches = createWindow(MAX_FETCHES_PER_MINUTE, clock);

  async function discover(domain: string): Promise<DirectoryEntry> {
    const entry = await readWellKnown(domain, dialer, clock).catch((cause) => unknown(domain, cause));
    cache.set(domain, { at: clock.now(), outcome: entry });
    if (entry instanceof Refusal) throw entry;
    return entry;
  }

  /** False also if the clock was set back since. */
  function isFresh({ at, outcome }: Cached): boolean {
    const age = clock.now() - at;
    return age >= 0 && age < (outcome instanceof Refusal ? FAILURE_LIFETIME_MS : ENTRY_LIFETIME_MS);
  }

  return {
    async lookup(domain) {
      const known = preset.get(domain);
      if (known !== undefined) return known;
      if (!isDomain(domain) || allowed?.has(domain) === false) throw unknown(domain);
      const cached = cache.get(domain);
      if (cached !== undefined && isFresh(cached)) {
        if (cached.outcome instanceof Refusal) throw cached.outcome;
        return cached.outcome;
      }
      let discovery = underway.get(domain);
      if (discovery === undefined) {
        // Those that turned out to be parties are few, and must be found also while strangers make up others.
        if (cached === undefined || cached.outcome instanceof Refusal) fetches.take();
        discovery = discover(domain).finally(() => underway.delete(domain));
        underway.set(domain, discovery);
      }
      return discovery;
    },
  };
}

function unknown(domain: string, cause?: unknown): Refusal {
  return new Refusal(Reason.PROVIDER_UNKNOWN, "no directory entry could be had for the domain", {
    metadata: { domain },
    cause,
  });
}

/** Lets through `limit` takers in each minute and refuses the others. */
function createWindow(limit: number, clock: Clock): { take(): void } {
  let began = Number.NEGATIVE_INFINITY;
  let taken = 0;
  return {
    take() {
      const now = clock.now();
      if (now - began >= MINUTE_MS || now < began) [began, taken] = [now, 0];
      if (taken >= limit) {
        throw new Refusal(Reason.RATE_LIMITED, "too many unknown domains", {
          metadata: { retry_after_seconds: String(Math.ceil((began + MINUTE_MS - now) / 1000)) },
        });
      }
      taken++;
    },
  };
}
