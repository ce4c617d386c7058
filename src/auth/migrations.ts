import { outboxMigration } from "../events/outbox-cursors.ts";
import { subscriberMigration } from "../events/subscriber/subscriber.ts";
import type { Migration } from "../store/database.ts";
import { noncesMigration } from "../store/nonces.ts";
import { throttleMigration } from "../store/throttle.ts";
import { tenancyMigration } from "../tenancy/migration.ts";
import { standingsMigration } from "../tenancy/standings.ts";
import { sessionEventsMigration, sessionOrderMigration } from "./session-events.ts";

/**
 * The Auth Provider's tables, beside those of tenancy.
 *
 * - `key_pairs`: an Auth key and the Service key that is announced with it, in the order in which they were made. They stay
 *   when others take their place, so that a developer's order has the same outcome for as long as there is a tenant.
 * - `provision_orders`: which keys an order was answered with; none if the tenant was terminated since.
 * - `users`, `sessions`: of tenants that are served. Of refresh tokens only digests are kept: `family` of the part that all
 *   tokens of a session share, `token` of the one that is good next.
 */
const authMigration = `
  CREATE TABLE key_pairs (
    number          INTEGER NOT NULL PRIMARY KEY,
    app_id          TEXT NOT NULL,
    auth_key_id     TEXT NOT NULL UNIQUE,
    auth_public_key BLOB NOT NULL,
    auth_seed       BLOB NOT NULL,
    service_seed    BLOB NOT NULL,
    config_epoch    INTEGER NOT NULL,
    in_use          INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX key_pairs_by_app ON key_pairs (app_id, number);

  CREATE TABLE provision_orders (
    order_id BLOB NOT NULL PRIMARY KEY,
    pair     INTEGER REFERENCES key_pairs (number) ON DELETE SET NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX provision_orders_by_pair ON provision_orders (pair);

  CREATE TABLE users (
    app_id          TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    name       TEXT NOT NULL,
    password   TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (app_id, user_id),
    UNIQUE (app_id, name)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE sessions (
    session_id TEXT NOT NULL PRIMARY KEY,
    app_id          TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    family     BLOB NOT NULL UNIQUE,
    token      BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    FOREIGN KEY (app_id, user_id) REFERENCES users (app_id, user_id) ON DELETE CASCADE
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX sessions_by_user ON sessions (app_id, user_id, created_at);
  CREATE INDEX sessions_by_age ON sessions (expires_at);
`;

/** All steps of the Auth Provider's schema. */
export const authMigrations: readonly Migration[] = [
  noncesMigration + tenancyMigration + throttleMigration + authMigration,
  subscriberMigration + standingsMigration,
  sessionEventsMigration,
  sessionOrderMigration + outboxMigration,
];
