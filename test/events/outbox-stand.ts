import { join } from "node:path";
import pino from "pino";
import { utf8 } from "../../src/core/bytes.ts";
import { type Outbox, startOutbox } from "../../src/events/outbox.ts";
import { outboxMigration } from "../../src/events/outbox-cursors.ts";
import { WatchHub } from "../../src/events/watch-hub.ts";
import { Log, logMigration } from "../../src/log/log.ts";
import { sha256 } from "../../src/statement/crypto.ts";
import { openDatabase } from "../../src/store/database.ts";
import { WriteQueue } from "../../src/store/write-queue.ts";
import { FakeClock } from "../support/clock.ts";
import type { FaultyPublisher } from "./faulty-publisher.ts";

/** A log with an outbox, as a registry has them. */
export interface OutboxStand {
  outbox: Outbox;
  log: Log;
  /** Commits an event of an app, and says so. */
  append(appId: string): void;
  /** Commits one without saying so, as a crash right after the commit would. */
  appendSilently(appId: string): void;
  /** Stops as a registry does. */
  stop(): Promise<void>;
  /** Ends without a last word, as a crash would. */
  crash(): void;
}

/** Opens the file `registry.db` of a folder. */
export function openStand(folder: string, publisher: FaultyPublisher, clock = new FakeClock()): OutboxStand {
  const db = openDatabase(join(folder, "registry.db"), [logMigration, outboxMigration]);
  db.pragma("synchronous = OFF"); // No power is lost in these tests.
  const lastSequence = db.prepare<[string], number>("SELECT max(sequence) FROM log WHERE app_id = ?").pluck();
  const log = new Log(db);
  const writes = new WriteQueue(db);
  const hub = new WatchHub((milliseconds, callback) => clock.setTimer(milliseconds, callback));
  const changes = hub.subscribe(undefined);
  const logger = pino({ level: "silent" });
  const outbox = startOutbox({ db, writes, source: log, publisher, changes, clock, logger });
  const appendSilently = (appId: string) => {
    const head = log.head();
    const sequence = (lastSequence.get(appId) ?? 0) + 1;
    const statement = utf8(`event ${head.index + 1}`);
    log.append(head, {
      time: clock.seconds(),
      statementId: sha256(statement),
      statement,
      private: false,
      effectType: "test",
      effect: new Uint8Array(),
      event: { appId, sequence, statement },
    });
  };
  return {
    outbox,
    log,
    appendSilently,
    append(appId) {
      appendSilently(appId);
      hub.changed(appId);
    },
    async stop() {
      const stopped = outbox.stop();
      writes.close();
      db.close();
      await stopped;
    },
    crash() {
      db.close();
    },
  };
}

/** Lets everything happen that waits for nothing but its turn. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}
