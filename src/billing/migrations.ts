import { subscriberMigration } from "../events/subscriber/subscriber.ts";
import type { Migration } from "../store/database.ts";
import { noncesMigration } from "../store/nonces.ts";

/**
 * The tables of Billing, beside those of its subscriber.
 *
 * - `accounts`: one for each service that ever reported usage, for ever; also, without reports, for each service that was
 *   unbound while its app was listened to, so that a report that comes late opens nothing.
 * - `totals`: what was used, by meter.
 * - `reports`: which reports are in the totals, each with the digest of its lines.
 */
const billingMigration = `
  CREATE TABLE accounts (
    app_id     TEXT NOT NULL,
    service_id TEXT NOT NULL,
    opened_at  INTEGER NOT NULL,
    closed_at  INTEGER NOT NULL DEFAULT 0,
    reports    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (app_id, service_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX accounts_open ON accounts (app_id) WHERE closed_at = 0;

  CREATE TABLE totals (
    app_id     TEXT NOT NULL,
    service_id TEXT NOT NULL,
    meter      TEXT NOT NULL,
    amount     INTEGER NOT NULL,
    PRIMARY KEY (app_id, service_id, meter),
    FOREIGN KEY (app_id, service_id) REFERENCES accounts (app_id, service_id)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE reports (
    app_id     TEXT NOT NULL,
    service_id TEXT NOT NULL,
    report_id  BLOB NOT NULL,
    digest     BLOB NOT NULL,
    PRIMARY KEY (app_id, service_id, report_id),
    FOREIGN KEY (app_id, service_id) REFERENCES accounts (app_id, service_id)
  ) STRICT, WITHOUT ROWID;
`;

/** All steps of Billing's schema. */
export const billingMigrations: readonly Migration[] = [noncesMigration + subscriberMigration + billingMigration];
