import { expect, test } from "vitest";
import { DataHandling } from "../../gen/omi/agent/v1/agent_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { rotationFailpoints, terminationFailpoints } from "../../src/tenancy/failpoints.ts";
import { bindTestService, registerTestApp, unbindOf } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { startRegistry } from "../support/registry.ts";
import { Crash } from "./crash.ts";
import {
  adopt,
  agreedKeys,
  hex,
  NOWHERE,
  outcomeOf,
  type PartOptions,
  rotate,
  rotateOf,
  startPart,
  terminate,
  terminateOf,
} from "./support.ts";

/** A registry with a service, whose provider can be started again and again on the same file. */
async function startMesh() {
  const registry = await startRegistry();
  const databaseFile = `${temporaryFolder()}/part.db`;
  const service = await bindTestService(registry, await registerTestApp(registry));
  const start = (options: PartOptions = {}) => startPart(registry, { databaseFile, ...options });
  const first = await start();
  await adopt(first, service, registry.clock.seconds());
  await first.stop();
  return { registry, service, start };
}

type Mesh = Awaited<ReturnType<typeof startMesh>>;

/** Runs a part that dies at a failpoint while it deals with an order. */
async function crashAt(
  { start }: Mesh,
  name: string,
  send: (part: Awaited<ReturnType<Mesh["start"]>>) => Promise<unknown>,
) {
  const crash = new Crash(name);
  const part = await start({ failpoint: crash.failpoint });
  expect(await outcomeOf(send(part))).toBe("INTERNAL");
  expect(crash.happened).toBe(true);
  await part.stop();
}

// After the crash, the process that comes back finishes by itself what was begun, or the developer sends the same bytes.
const recoveries = ["resume", "same bytes"] as const;

function walk(failpoints: readonly string[]) {
  return failpoints.flatMap((name) => recoveries.map((recovery) => ({ name, recovery })));
}

function isAt(name: string, job: string): boolean {
  return name.startsWith(job);
}

const rotations = rotationFailpoints.filter((name) => !isAt(name, "rotation.refuse"));

test.each(walk(rotations))("a rotation that crashed at $name is finished by: $recovery", async ({ name, recovery }) => {
  const mesh = await startMesh();
  const { registry, service, start } = mesh;
  const order = rotateOf(registry, service);
  if (isAt(name, "rotation.sign-again")) {
    await crashAt(mesh, "rotation.before-call", (part) => rotate(part, order));
    registry.clock.advance(10_000);
  }
  await crashAt(mesh, name, (part) => rotate(part, order));

  const part = await start();
  if (recovery === "resume") await part.tenancy.resume();
  const rotated = await rotate(part, order);
  const keys = await agreedKeys(registry, part, service);
  expect(keys).toEqual({ current: hex(rotated.publicKey), grace: hex(service.key.publicKey) });
  const { publicKey, previousPublicKey, gracePeriodExpiry } = await rotate(part, order);
  expect({ publicKey, previousPublicKey, gracePeriodExpiry }).toMatchObject({
    publicKey: rotated.publicKey,
    previousPublicKey: service.key.publicKey,
    gracePeriodExpiry: rotated.gracePeriodExpiry,
  });
  expect(await agreedKeys(registry, part, service)).toEqual(keys);
});

test.each(walk(rotationFailpoints.filter((name) => isAt(name, "rotation.refuse"))))(
  "a refused rotation that crashed at $name is off after: $recovery",
  async ({ name, recovery }) => {
    const mesh = await startMesh();
    const { registry, service, start } = mesh;
    const before = await start();
    await rotate(before, rotateOf(registry, service));
    const keys = await agreedKeys(registry, before, service);
    await before.stop();
    const order = rotateOf(registry, service);
    await crashAt(mesh, name, (part) => rotate(part, order));

    const part = await start();
    if (recovery === "resume") await part.tenancy.resume();
    expect(await outcomeOf(rotate(part, order))).toBe("REGISTRY_REFUSED ROTATION_IN_GRACE");
    expect(await agreedKeys(registry, part, service)).toEqual(keys);
  },
);

test("a rotation waits for the registry to come back, and others wait for it", async () => {
  const { registry, service, start } = await startMesh();
  const tenant = { appId: service.app.appId, serviceId: service.serviceId };
  const wish = { gracePeriodSeconds: 600, immediate: false };
  const offline = await start({ registryUrl: NOWHERE });
  expect(await outcomeOf(offline.tenancy.rotation.rotate(tenant, wish))).toBe("REGISTRY_UNAVAILABLE");
  await offline.tenancy.resume();
  const next = hex(offline.tenancy.keys.next(tenant)?.publicKey);
  await offline.stop();

  const online = await start();
  expect(hex((await online.tenancy.rotation.rotate(tenant, wish)).publicKey)).toBe(next);
  const rotated = await rotate(online, rotateOf(registry, service, { immediate: true }));
  expect(hex(rotated.previousPublicKey)).toBe(next);
  await agreedKeys(registry, online, service);
});

test.each(walk(terminationFailpoints))(
  "a termination that crashed at $name is finished by: $recovery",
  async ({ name, recovery }) => {
    const mesh = await startMesh();
    const { registry, service, start } = mesh;
    const tenant = { appId: service.app.appId, serviceId: service.serviceId };
    const order = terminateOf(registry, service);
    await crashAt(mesh, name, (part) => terminate(part, order));

    const part = await start();
    if (recovery === "resume") await part.tenancy.resume();
    const kept = part.tenancy.tenants.get(tenant)?.termination?.receipt;
    const receipt = await terminate(part, order);
    if (kept !== undefined) expect(receipt).toEqual(kept);
    await expectEnded(mesh, receipt);
    expect(part.terminations).not.toContain(DataHandling.RETAIN);
    await part.stop();
    const later = await start();
    expect(await terminate(later, order)).toEqual(receipt);
    expect(later.terminations).toEqual([]);
  },
);

test.each(recoveries)("a termination finishes the rotation under way first: %s", async (recovery) => {
  const mesh = await startMesh();
  const { registry, service, start } = mesh;
  await crashAt(mesh, "rotation.after-call", (part) => rotate(part, rotateOf(registry, service)));
  const order = terminateOf(registry, service);
  if (recovery === "resume") await crashAt(mesh, "termination.begin.after-commit", (part) => terminate(part, order));
  const part = await start();
  if (recovery === "resume") await part.tenancy.resume();
  await expectEnded(mesh, await terminate(part, order));
});

/** The registry believes the receipt, so the key that signed it is the one that the registry holds for current. */
async function expectEnded({ registry, service }: Mesh, receipt: Statement) {
  await registry.registry.unbindService({ statement: unbindOf(registry.clock, service, receipt) });
}
