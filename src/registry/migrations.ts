import { outboxMigration } from "../events/outbox-cursors.ts";
import { logMigration } from "../log/log.ts";
import type { Migration } from "../store/database.ts";
import { noncesMigration } from "../store/nonces.ts";
import { throttleMigration } from "../store/throttle.ts";

/**
 * The tables that follow from the log. {@link projectionTables} lists them; a rebuild empties them and applies the log
 * again.
 */
const projectionMigration = `
  CREATE TABLE registry_keys (
    version   INTEGER PRIMARY KEY,
    statement BLOB NOT NULL
  ) STRICT;

  CREATE TABLE namespaces (
    namespace          TEXT PRIMARY KEY,
    folded             TEXT NOT NULL UNIQUE,
    status             INTEGER NOT NULL,
    master_key_id      TEXT NOT NULL,
    master_public_key  BLOB NOT NULL,
    claim              BLOB NOT NULL,
    claim_statement_id BLOB NOT NULL,
    claimed_at         INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE apps (
    app_id            TEXT PRIMARY KEY,
    owner_namespace   TEXT NOT NULL REFERENCES namespaces,
    project_slug      TEXT NOT NULL,
    folded_slug       TEXT NOT NULL,
    display_name      TEXT NOT NULL,
    description       TEXT NOT NULL,
    registered_at     INTEGER NOT NULL,
    config_epoch      INTEGER NOT NULL,
    backbone          BLOB NOT NULL,
    auth_provider     TEXT NOT NULL,
    auth_provider_url TEXT NOT NULL,
    sequence          INTEGER NOT NULL,
    UNIQUE (owner_namespace, folded_slug)
  ) STRICT;

  CREATE TABLE services (
    app_id       TEXT NOT NULL REFERENCES apps,
    service_id   TEXT NOT NULL,
    service_type TEXT NOT NULL,
    provider     TEXT NOT NULL,
    status       INTEGER NOT NULL,
    endpoint_url TEXT NOT NULL,
    bound_at     INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    suspended_at INTEGER NOT NULL,
    PRIMARY KEY (app_id, service_id)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE keys (
    key_id     TEXT PRIMARY KEY,
    public_key BLOB NOT NULL,
    role       INTEGER NOT NULL,
    namespace  TEXT,
    app_id     TEXT,
    service_id TEXT,
    status     INTEGER NOT NULL,
    not_after  INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX keys_by_service ON keys (app_id, service_id, role, status);

  CREATE TABLE proofs (
    proof_id   BLOB PRIMARY KEY,
    app_id     TEXT NOT NULL,
    service_id TEXT NOT NULL,
    key_id     TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

/** What must be kept but never stand in the log: contacts are private and erasable. */
const contactsMigration = `
  CREATE TABLE contacts (
    namespace     TEXT PRIMARY KEY,
    email         TEXT NOT NULL,
    salt          BLOB NOT NULL,
    code_hash     BLOB,
    code_attempts INTEGER NOT NULL DEFAULT 0
  ) STRICT;
`;

/** How many codes a contact was sent, and when the last one, in Unix seconds; 0 if that was before this was kept. */
const resentCodesMigration = `
  ALTER TABLE contacts ADD COLUMN codes_sent INTEGER NOT NULL DEFAULT 1;
  ALTER TABLE contacts ADD COLUMN code_sent_at INTEGER NOT NULL DEFAULT 0;
`;

/** A service's keys are read with it, so the index holds all that is wanted of them. */
const coveringKeysMigration = `
  DROP INDEX keys_by_service;
  CREATE INDEX keys_by_service ON keys (app_id, service_id, role, status, not_after, key_id, public_key);
`;

/** Wrong codes are counted by the throttle. */
const uncountedCodesMigration = "ALTER TABLE contacts DROP COLUMN code_attempts";

/** The tables that follow from the log, children before parents. */
export const projectionTables = ["proofs", "keys", "services", "apps", "namespaces", "registry_keys"] as const;

/** The registry's schema. */
export const registryMigrations: readonly Migration[] = [
  [logMigration, noncesMigration, projectionMigration, contactsMigration].join("\n"),
  outboxMigration,
  resentCodesMigration,
  coveringKeysMigration,
  throttleMigration,
  uncountedCodesMigration,
];
