import { copyFileSync, rmSync } from "node:fs";
import BetterSqlite3 from "better-sqlite3";
import { expect, test } from "vitest";
import { SubscriptionState } from "../../gen/omi/event/v1/subscriber_service_pb.ts";
import { isRefusal, Reason } from "../../src/core/refusal.ts";
import { countTo, firstSequences, storedEvents } from "../nats/support/publishing.ts";
import { withNatsMesh } from "./support/event-mesh.ts";
import { listenerNames, untilAllCurrent, untilStateOf } from "./support/listeners.ts";
import { readSequences } from "./support/registry-facts.ts";
import { scaled } from "./support/settings.ts";
import { until } from "./support/wait.ts";

/** Waits until a registry knows that all its events are published, and has noted it. */
async function untilConfirmed(file: string): Promise<void> {
  const db = new BetterSqlite3(file, { readonly: true });
  const isConfirmed = db
    .prepare<[], number>(
      "SELECT (SELECT max(log_index) FROM outbox) >= (SELECT max(entry_index) FROM log WHERE event IS NOT NULL)",
    )
    .pluck();
  await until("all events to be confirmed", () => isConfirmed.get() === 1);
  db.close();
}

test("a registry that is killed between commit and publishing, or before it hears of it, publishes everything once", async () => {
  await withNatsMesh(async (mesh) => {
    const { appId } = await mesh.newApp();
    const { registry } = mesh.mesh.members;
    const gate = mesh.gates.registry;
    const sequence = () => readSequences(mesh.mesh.databaseFile("registry")).get(appId) ?? 0n;
    const kills = scaled(100, 6);
    for (let round = 0; round < kills; round++) {
      const before = sequence();
      await mesh.untilStored(Number(before));
      // Nothing that the registry says reaches NATS from here on; or nothing that NATS answers reaches the registry.
      const isSent = round % 2 === 1;
      // An event is sent once the one before it is confirmed, which must not be held as well.
      if (isSent) await untilConfirmed(mesh.mesh.databaseFile("registry"));
      gate.hold(isSent ? "answers" : "requests");
      await mesh.rotate(appId, "articles");
      expect(sequence(), "committed").toBe(before + 1n);
      if (isSent) await mesh.untilStored(Number(before) + 1);
      else expect(await mesh.stored(), "not published").toBe(Number(before));
      await registry.kill();
      gate.cut();
      gate.open();
      registry.start();
      await registry.serving;
    }
    await mesh.untilStored(Number(sequence()));
    await mesh.expectAgreement();
    const stored = await storedEvents(mesh.nats);
    expect(stored.map(({ event }) => Number(event.sequence))).toEqual(countTo(Number(sequence())));
    expect(firstSequences(stored, appId)).toHaveLength(stored.length);
    console.log(`${kills} kills between commit and confirmation`);
  });
});

test("a registry that was restored from an old backup is believed by nobody, until it has its newest state again", async () => {
  await withNatsMesh(async (mesh) => {
    const { appId, write } = await mesh.newApp();
    const { registry } = mesh.mesh.members;
    const file = mesh.mesh.databaseFile("registry");
    await write();
    const replace = async (change: () => void) => {
      await mesh.mesh.stopOne(registry);
      for (const side of ["-wal", "-shm"]) rmSync(file + side, { force: true });
      change();
      registry.start();
      await registry.serving;
    };
    await replace(() => copyFileSync(file, `${file}.old`));
    await mesh.rotate(appId, "articles", 3);
    await mesh.developer.unbindService({ appId, serviceId: "journal" });
    await untilAllCurrent(mesh.mesh, [appId]);
    const newest = readSequences(file).get(appId);

    await replace(() => {
      copyFileSync(file, `${file}.newest`);
      copyFileSync(`${file}.old`, file);
    });
    for (const name of listenerNames) {
      const { appliedSequence } = await untilStateOf(mesh.mesh, name, appId, SubscriptionState.ROLLED_BACK);
      expect(appliedSequence, name).toBe(newest);
      await until(`${name} to say so`, () =>
        mesh.mesh.members[name].logLines().some((line) => line.includes('"alarm":"REGISTRY_ROLLED_BACK"')),
      );
    }
    // What exactly is wrong between a service and a registry is nothing that its users could do anything about.
    await expect(write()).rejects.toSatisfy((error) => isRefusal(error, Reason.VIEW_STALE));

    await replace(() => copyFileSync(`${file}.newest`, file));
    await untilAllCurrent(mesh.mesh, [appId]);
    await write();
    await mesh.rotate(appId, "articles");
    await mesh.expectAgreement();
  });
});
