import { expect, test } from "vitest";
import { countTo, firstSequences, storedEvents } from "../nats/support/publishing.ts";
import { type NatsFaultMesh, serviceIds, withNatsMesh } from "./support/event-mesh.ts";
import { readSequences } from "./support/registry-facts.ts";
import { scaled } from "./support/settings.ts";
import { milliseconds } from "./support/wait.ts";

const APPS = 3;

/** All services of some apps rotate side by side; `disturb` is called again and again meanwhile, with what was done by then. */
async function rotateAll(mesh: NatsFaultMesh, total: number, disturb: (done: number) => Promise<void>): Promise<void> {
  for (let count = 0; count < APPS; count++) await mesh.newApp();
  let begun = 0;
  let done = 0;
  const workers = mesh.appIds.flatMap((appId) =>
    serviceIds.map(async (serviceId) => {
      for (; begun < total; done++) {
        begun++;
        await mesh.rotate(appId, serviceId);
      }
    }),
  );
  const disturber = (async () => {
    while (done < total) {
      await disturb(done);
      await milliseconds(5);
    }
  })();
  await Promise.all([...workers, disturber]);
}

/** The stream has every event of every app, in order. */
async function expectWholeStream(mesh: NatsFaultMesh): Promise<void> {
  const sequences = readSequences(mesh.mesh.databaseFile("registry"));
  await expect
    .poll(
      async () => {
        const stored = await storedEvents(mesh.nats).catch(() => []);
        return Object.fromEntries(mesh.appIds.map((appId) => [appId, firstSequences(stored, appId)]));
      },
      { timeout: 180_000, interval: 1000 },
    )
    .toEqual(Object.fromEntries(mesh.appIds.map((appId) => [appId, countTo(Number(sequences.get(appId)))])));
}

test("NATS is killed and comes back, again and again, while services rotate", async () => {
  await withNatsMesh(async (mesh) => {
    const { nats } = mesh;
    const total = scaled(1000, 100);
    let kills = 0;
    let isUp = true;
    // Down for every second fifty rotations.
    await rotateAll(mesh, total, async (done) => {
      const shallBeUp = done % 100 < 50;
      if (shallBeUp === isUp) return;
      isUp = shallBeUp;
      if (shallBeUp) return nats.start();
      kills++;
      await nats.kill();
    });
    if (!isUp) await nats.start();
    await expectWholeStream(mesh);
    await mesh.expectAgreement();
    expect(kills).toBeGreaterThan(0);
    console.log(`${total} rotations, NATS killed ${kills} times`);
  });
});

test("NATS loses all its data, again and again, while services rotate", async () => {
  await withNatsMesh(async (mesh) => {
    const { nats } = mesh;
    const total = scaled(200, 60);
    let wipes = 0;
    await rotateAll(mesh, total, async (done) => {
      if (done < 30 * (wipes + 1)) return;
      wipes++;
      await nats.kill();
      nats.wipe();
      await nats.start();
    });
    await expectWholeStream(mesh);
    await mesh.expectAgreement();
    expect(wipes).toBeGreaterThan(0);
    console.log(`${total} rotations, the data of NATS wiped ${wipes} times`);
  });
});
