/**
 * The tables of this room, beside those of tenancy.
 *
 * - `provisions`: every order of a service that was taken, and what became of it, by the order's Statement ID.
 * - `contexts`: what each tenant last learned of its app, and whether the service was told.
 */
export const agentMigration = `
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
