/**
 * The tables of this room, for the migrations of a part that has tenants.
 *
 * - `tenants`: one row for each service of each app, for ever.
 * - `service_keys`: at most one key of each state for each tenant. A key in grace signs nothing any more, so its secret
 *   half is gone.
 * - `rotations`: the rotation under way, with the exact Statement that the registry has seen or will see.
 * - `rotation_orders`: what became of a developer's order to rotate; without outcome while it is under way.
 */
export const tenancyMigration = `
  CREATE TABLE tenants (
    app_id         TEXT NOT NULL,
    service_id     TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('PENDING', 'ACTIVE', 'TERMINATING', 'TERMINATED')),
    created_at     INTEGER NOT NULL,
    termination_id BLOB,
    data_handling  INTEGER NOT NULL DEFAULT 0,
    receipt        BLOB,
    PRIMARY KEY (app_id, service_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX tenants_by_state ON tenants (state);

  CREATE TABLE service_keys (
    app_id     TEXT NOT NULL,
    service_id TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('NEXT', 'CURRENT', 'GRACE')),
    key_id     TEXT NOT NULL UNIQUE,
    public_key BLOB NOT NULL,
    seed       BLOB CHECK ((seed IS NULL) = (state = 'GRACE')),
    since      INTEGER NOT NULL,
    not_after  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (app_id, service_id, state)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE rotations (
    app_id               TEXT NOT NULL,
    service_id           TEXT NOT NULL,
    statement            BLOB NOT NULL,
    grace_period_seconds INTEGER NOT NULL,
    immediate            INTEGER NOT NULL,
    order_id             BLOB,
    PRIMARY KEY (app_id, service_id)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE rotation_orders (
    order_id            BLOB NOT NULL PRIMARY KEY,
    public_key          BLOB,
    previous_public_key BLOB,
    grace_period_expiry INTEGER,
    registry_reason     TEXT
  ) STRICT, WITHOUT ROWID;
`;
