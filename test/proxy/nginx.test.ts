import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import {
  ResolverService,
  ResolveServiceRequestSchema,
  ResolveServiceResponseSchema,
} from "../../gen/omi/registry/v1/resolver_service_pb.ts";
import { ServiceAnswerSchema } from "../../gen/omi/registry/v1/service_pb.ts";
import { toBase64Url } from "../../src/core/bytes.ts";
import { openAnswer, verifySignature } from "../../src/statement/statement.ts";
import { FakeClock } from "../support/clock.ts";
import { bindTestService, present, registerTestApp, rotationOf, suspendOf } from "../support/developer.ts";
import { testKey, testNonce } from "../support/keys.ts";
import { startRegistry } from "../support/registry.ts";
import { startNginx } from "./support/nginx.ts";

/** A registry with a bound service, behind nginx. Its clock stands still unless moved. */
async function started() {
  const registry = await startRegistry({ clock: new FakeClock(), policy: { minGracePeriodSeconds: 1 } });
  const service = await bindTestService(registry, await registerTestApp(registry));
  const url = `http://127.0.0.1:${await startNginx(registry.url)}`;
  const { serviceId, app } = service;

  /** Asks nginx for the service as a client does, and says where the answer came from. */
  const resolve = async (nonce: Uint8Array = new Uint8Array()) => {
    const request = create(ResolveServiceRequestSchema, { appId: app.appId, serviceId, nonce });
    const message = toBase64Url(toBinary(ResolveServiceRequestSchema, request));
    const path = "/omi.registry.v1.ResolverService/ResolveService";
    const response = await fetch(`${url}${path}?connect=v1&encoding=proto&base64=1&message=${message}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    expect(response.status).toBe(200);
    const { answer } = fromBinary(ResolveServiceResponseSchema, bytes);
    const opened = openAnswer(ServiceAnswerSchema, present(answer));
    await verifySignature(opened, registry.key.publicKey);
    return { from: response.headers.get("x-cache"), keys: opened.message.service?.keys ?? [], header: opened.header };
  };
  return { registry, service, url, resolve };
}

test("a plain cache serves answers that verify", async () => {
  const { registry, service, resolve } = await started();
  expect(await resolve()).toMatchObject({ from: "MISS", keys: [{ keyId: service.key.keyId }] });
  expect(await resolve()).toMatchObject({ from: "HIT", keys: [{ keyId: service.key.keyId }] });
  await registry.stop();
  expect(await resolve()).toMatchObject({ from: "HIT", keys: [{ keyId: service.key.keyId }] });
});

test("clients of the mesh's protocol are served by it too", async () => {
  const { registry, service, url } = await started();
  const transport = createConnectTransport({ baseUrl: url, httpVersion: "1.1", useHttpGet: true });
  const resolver = createClient(ResolverService, transport);
  const about = { appId: service.app.appId, serviceId: service.serviceId };
  const first = await resolver.resolveService(about);
  await registry.stop();
  expect(await resolver.resolveService(about)).toEqual(first);
});

test("an answer is not served past its expiry", async () => {
  const { registry, service, resolve } = await started();
  const { clock } = registry;
  const rotation = rotationOf(clock, service, testKey("new"), { gracePeriodSeconds: 2 });
  await registry.registry.rotateKey({ statement: rotation });
  const first = await resolve();
  expect(first).toMatchObject({ from: "MISS", header: { expiresAt: BigInt(clock.seconds() + 2) } });
  expect(first.keys).toHaveLength(2);
  clock.advance(2);
  // As the registry's clock does not run by itself, nginx's two seconds begin later and end later, but they end.
  await expect.poll(async () => (await resolve()).from, { timeout: 10_000, interval: 100 }).not.toBe("HIT");
  expect((await resolve()).keys).toHaveLength(1);
});

test("fresh answers are never kept", async () => {
  const { registry, service, resolve } = await started();
  const nonce = testNonce();
  expect(await resolve(nonce)).toMatchObject({ from: "MISS" });
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  expect(await resolve(nonce)).toMatchObject({ from: "MISS", keys: [] });
});

test("refusals are never kept", async () => {
  const { url } = await started();
  const ask = () =>
    fetch(
      `${url}/omi.registry.v1.ResolverService/ResolveNamespace?encoding=json&message=%7B%22namespace%22%3A%22nobody%22%7D`,
    );
  for (const response of [await ask(), await ask()]) {
    expect(response.status).toBe(404);
    expect(response.headers.get("x-cache")).toBe("MISS");
  }
});
