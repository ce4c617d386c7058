import BetterSqlite3 from "better-sqlite3";
import { expect, test } from "vitest";
import { stream } from "../nats/support/publishing.ts";
import { type NatsFaultMesh, withNatsMesh } from "./support/event-mesh.ts";
import { type ListenerName, subscriptionOf, untilAllCurrent } from "./support/listeners.ts";
import { readSequences } from "./support/registry-facts.ts";
import { scaled } from "./support/settings.ts";
import { until } from "./support/wait.ts";

/** The parts that have nothing to do with the rotation of a key of `articles`, except that they hear of it. */
const victims = ["auth-provider", "journal", "billing"] as const;

/** The sequence of the last event of an app whose effect a part's file has. */
function appliedSequence(mesh: NatsFaultMesh, name: ListenerName, appId: string): bigint {
  const db = new BetterSqlite3(mesh.mesh.databaseFile(name), { readonly: true });
  const sequence = db
    .prepare<[string], number>("SELECT sequence FROM event_cursors WHERE app_id = ?")
    .pluck()
    .get(appId);
  db.close();
  return BigInt(sequence ?? 0);
}

function committedSequence(mesh: NatsFaultMesh, appId: string): bigint {
  return readSequences(mesh.mesh.databaseFile("registry")).get(appId) ?? 0n;
}

/** Waits until the server has delivered the last event of the only app to a part. */
async function untilGiven(mesh: NatsFaultMesh, name: ListenerName, appId: string): Promise<void> {
  await mesh.untilStored(Number(committedSequence(mesh, appId)));
  await mesh.untilDelivered(name);
}

/** Kills a part that has received an event and not yet had the effect. */
async function killBeforeEffect(mesh: NatsFaultMesh, name: ListenerName, appId: string): Promise<void> {
  const before = appliedSequence(mesh, name, appId);
  // Whatever the part is told, it can't write.
  const lock = new BetterSqlite3(mesh.mesh.databaseFile(name), { timeout: 30_000 });
  lock.exec("BEGIN IMMEDIATE");
  await mesh.rotate(appId, "articles");
  await untilGiven(mesh, name, appId);
  await mesh.mesh.members[name].kill();
  expect(appliedSequence(mesh, name, appId), `${name} has not applied it`).toBe(before);
  expect(committedSequence(mesh, appId)).toBe(before + 1n);
  lock.close();
}

/** Kills a part that has had the effect of an event and not yet acknowledged it. */
async function killBeforeAcknowledgement(mesh: NatsFaultMesh, name: ListenerName, appId: string): Promise<void> {
  const gate = mesh.gates[name];
  gate.hold("requests");
  await mesh.rotate(appId, "articles");
  const sequence = committedSequence(mesh, appId);
  // Mostly because it was given the event; by a head if it was just about to ask NATS for more.
  await until(`${name} to have applied the event`, () => appliedSequence(mesh, name, appId) === sequence);
  await mesh.mesh.members[name].kill();
  gate.cut();
  gate.open();
}

test("a part that is killed between the receipt of an event, its effect and its acknowledgement has the effect once", async () => {
  await withNatsMesh(async (mesh) => {
    const { appId } = await mesh.newApp();
    const kills = 2 * scaled(30, victims.length);
    for (let round = 0; round < kills; round++) {
      const name = victims[round % victims.length] ?? "billing";
      const member = mesh.mesh.members[name];
      await untilAllCurrent(mesh.mesh, [appId]);
      if (round % 2 === 0) await killBeforeEffect(mesh, name, appId);
      else await killBeforeAcknowledgement(mesh, name, appId);
      member.start();
      await member.serving;
    }
    // What was given to who died is given again.
    for (const name of victims) await mesh.untilAcknowledged(name);
    await mesh.expectAgreement();
    console.log(`${kills / 2} kills between receipt and effect, as many between effect and acknowledgement`);
  });
});

test("parts that were away for longer than NATS keeps events, and the server their consumers, miss nothing", async () => {
  await withNatsMesh(
    async (mesh) => {
      const { appId } = await mesh.newApp();
      const away = ["auth-provider", "billing"] as const;
      for (const name of away) await mesh.mesh.members[name].kill();
      await mesh.rotate(appId, "articles", 20);
      await mesh.developer.unbindService({ appId, serviceId: "journal" });
      await until("the stream to be empty", async () => (await mesh.stored()) === 0);
      await mesh.jetstream((manager) => manager.consumers.delete(stream, "billing_test"));
      for (const name of away) mesh.mesh.members[name].start();
      await untilAllCurrent(mesh.mesh, [appId]);
      for (const name of away) {
        const counts = (await subscriptionOf(mesh.mesh, name, appId))?.counts;
        expect(counts, name).toMatchObject({ applied: 21n, forged: 0n });
        expect(counts?.caughtUp, name).toBeGreaterThan(0n);
      }
      await mesh.rotate(appId, "articles", 3);
      await mesh.expectAgreement();
    },
    { maxAgeSeconds: 2, duplicateWindowSeconds: 1 },
  );
});
