import { ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import { Contexts } from "../agent/contexts.ts";
import { agentMigrations } from "../agent/migration.ts";
import { authMigrations } from "../auth/migrations.ts";
import { billingMigrations } from "../billing/migrations.ts";
import { parseAppId } from "../core/app-id.ts";
import { toHex } from "../core/bytes.ts";
import { besideConfig } from "../core/config.ts";
import { Cursors } from "../events/subscriber/cursors.ts";
import { type Database, type Migration, openDatabase } from "../store/database.ts";
import { Standings } from "../tenancy/standings.ts";
import type { ProcessConfig } from "./config.ts";
import { mustHoldAlone } from "./hold.ts";

/** A service that events have stopped. */
export type StoppedService = { readonly appId: string; readonly serviceId: string };

/** What a part knows of a registry, and what becomes of it when its events are reset. */
export type EventsReset = {
  readonly databaseFile: string;
  /** The greatest index of the registry's log that the part has seen, and the last head that it remembers. Forgotten. */
  readonly seen: {
    readonly index: number;
    readonly head: { readonly index: number; readonly hash: string } | undefined;
  };
  /** How far the part has come with each app. Forgotten: the app is read from its first event on. */
  readonly apps: readonly { readonly appId: string; readonly sequence: number }[];
  /** Services that were unbound. They stay revoked here, whatever the registry says of them then. */
  readonly revoked: readonly StoppedService[];
  /** Services that are suspended. They stay so until the registry's history says something else of them. */
  readonly suspended: readonly StoppedService[];
};

/** A part that listens to events: its file, and the tables in it that follow from them. */
type Listening = {
  readonly databaseFile: string;
  readonly migrations: readonly Migration[];
  readonly has: { readonly standings: boolean; readonly contexts: boolean };
};

/**
 * Has a part forget how far it came with the events of a registry, so that it reads all of them anew at its next start. Until it has,
 * it grants nothing by that registry.
 *
 * All of it is one transaction: after a crash at any moment the part is as it was, or as it shall be.
 *
 * @param isToBe false to change nothing, and only tell what would become of it
 * @returns undefined if the part knows nothing of the registry
 * @throws UsageError while the part runs
 * @throws RangeError if the part is one that doesn't listen to events
 */
export function resetEvents(
  config: ProcessConfig,
  { file, registry, isToBe }: { file: string | undefined; registry: string; isToBe: boolean },
): EventsReset | undefined {
  const { databaseFile, migrations, has } = listeningPart(config, file);
  const release = mustHoldAlone(databaseFile);
  const db = openDatabase(databaseFile, migrations);
  try {
    return db.transaction(() => {
      const known = readKnown(db, registry, has.standings);
      if (known === undefined) return undefined;
      if (isToBe) forget(db, registry, has);
      return { databaseFile, ...known };
    })();
  } finally {
    db.close();
    release();
  }
}

/**
 * The file of the part that a configuration is for.
 *
 * @throws RangeError if it is a registry
 */
export function listeningPart(
  { authProvider, billing, cmsArticle }: ProcessConfig,
  file: string | undefined,
): Listening {
  if (authProvider !== undefined) {
    const databaseFile = besideConfig(file, authProvider.databaseFile);
    return { databaseFile, migrations: authMigrations, has: { standings: true, contexts: false } };
  }
  if (billing !== undefined) {
    const databaseFile = besideConfig(file, billing.databaseFile);
    return { databaseFile, migrations: billingMigrations, has: { standings: false, contexts: false } };
  }
  if (cmsArticle !== undefined) {
    const databaseFile = besideConfig(file, cmsArticle.agentDatabaseFile);
    return { databaseFile, migrations: agentMigrations, has: { standings: true, contexts: true } };
  }
  throw new RangeError("a registry listens to nobody's events");
}

function readKnown(
  db: Database,
  registry: string,
  hasStandings: boolean,
): Omit<EventsReset, "databaseFile"> | undefined {
  const cursors = new Cursors(db);
  const apps = cursors.ofRegistry(registry);
  const { index, head } = cursors.seenLog(registry);
  if (apps.length === 0 && index === 0n) return undefined;
  const stopped = hasStandings ? new Standings(db).stopped().filter(({ appId }) => isOf(registry, appId)) : [];
  const those = (status: ServiceStatus) =>
    stopped.filter((service) => service.status === status).map(({ appId, serviceId }) => ({ appId, serviceId }));
  return {
    seen: { index: Number(index), head: head && { index: Number(head.index), hash: toHex(head.hash) } },
    apps,
    revoked: those(ServiceStatus.REVOKED),
    suspended: those(ServiceStatus.SUSPENDED),
  };
}

function forget(db: Database, registry: string, has: Listening["has"]): void {
  // What follows from events is numbered as they are: what comes then must not be taken for older than what is here.
  const numbered = [has.standings && new Standings(db), has.contexts && new Contexts(db)].filter(
    (table) => table !== false,
  );
  for (const table of numbered) {
    for (const appId of table.apps()) if (isOf(registry, appId)) table.rewind(appId);
  }
  new Cursors(db).forget(registry);
}

function isOf(registry: string, appId: string): boolean {
  return parseAppId(appId)?.registryDomain === registry;
}
