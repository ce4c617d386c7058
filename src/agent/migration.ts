import { subscriberMigration } from "../events/subscriber/subscriber.ts";
import type { Migration } from "../store/database.ts";
import { noncesMigration } from "../store/nonces.ts";
import { tenancyMigration } from "../tenancy/migration.ts";
import { standingsMigration } from "../tenancy/standings.ts";
import { sessionRevocationsMigration } from "./session-revocations.ts";
import { usageMigration } from "./usage-outbox.ts";

/**
 * The tables of this room, beside those of tenancy.
 *
 * - `provisions`: every order of a service that was taken, and what became of it, by the order's Statement ID.
 * - `contexts`: what each tenant last learned of its app, and whether the service was told.
 */
const agentMigration = `
  CREATE TABLE provisions (
    proof_id        BLOB NOT NULL PRIMARY KEY,
    app_id          TEXT NOT NULL,
    service_id      TEXT NOT NULL,
    service_type    TEXT NOT NULL,
    proof           BLOB NOT NULL,
    public_key      BLOB NOT NULL,
    endpoint_url    TEXT NOT NULL,
    restores        INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('BINDING', 'BOUND', 'REFUSED')),
    registry_reason TEXT NOT NULL DEFAULT ''
  ) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX provisions_under_way ON provisions (app_id, service_id) WHERE state = 'BINDING';
  CREATE INDEX provisions_by_tenant ON provisions (app_id, service_id, state);

  CREATE TABLE contexts (
    app_id       TEXT NOT NULL,
    service_id   TEXT NOT NULL,
    context      BLOB NOT NULL,
    config_epoch INTEGER NOT NULL,
    seen_at      INTEGER NOT NULL,
    delivered    INTEGER NOT NULL,
    PRIMARY KEY (app_id, service_id)
  ) STRICT, WITHOUT ROWID;
`;

/** The greatest config epoch that an event named, of each app: a context below it is to be read anew. */
const newsMigration = `
  CREATE TABLE context_news (
    app_id       TEXT NOT NULL PRIMARY KEY,
    config_epoch INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

/** Each event of an app asks for those to whom its epoch is news, which is nearly always nobody. */
const epochsMigration = `
  CREATE INDEX contexts_by_epoch ON contexts (app_id, config_epoch);
`;

/** All steps of the agent's schema. */
export const agentMigrations: readonly Migration[] = [
  noncesMigration + tenancyMigration + agentMigration,
  subscriberMigration + standingsMigration + newsMigration,
  usageMigration,
  sessionRevocationsMigration,
  epochsMigration,
];
