import { expect, test } from "vitest";
import { BindingAnswerSchema, ServiceAnswerSchema, ServiceStatus } from "../../../gen/omi/registry/v1/service_pb.ts";
import { Reason } from "../../../src/core/refusal.ts";
import { openAnswer, verifySignature } from "../../../src/statement/statement.ts";
import {
  announcementOf,
  bindingOf,
  bindTestService,
  present,
  registerTestApp,
  rotationOf,
  suspendOf,
  unbindOf,
} from "../../support/developer.ts";
import { testKey } from "../../support/keys.ts";
import { startRegistry } from "../../support/registry.ts";

test("a service is bound, rotates, is suspended, restored and unbound", async () => {
  const registry = await startRegistry();
  const { clock } = registry;
  const app = await registerTestApp(registry);
  await registry.registry.announceAuth({ statement: announcementOf(clock, app) });

  const bound = await registry.registry.bindService({ statement: bindingOf(clock, app) });
  const answer = openAnswer(BindingAnswerSchema, present(bound.answer));
  await verifySignature(answer, registry.key.publicKey);
  expect(answer.message.context?.authKeys).toHaveLength(1);

  const service = await bindTestService(registry, app, "cms-article-78");
  const next = testKey("next");
  await registry.registry.rotateKey({ statement: rotationOf(clock, service, next) });
  const resolved = await registry.resolver.resolveService({ appId: app.appId, serviceId: service.serviceId });
  const record = openAnswer(ServiceAnswerSchema, present(resolved.answer)).message.service;
  expect(record?.keys.map((key) => key.keyId)).toEqual([next.keyId, service.key.keyId]);

  await registry.registry.suspendService({ statement: suspendOf(clock, service) });
  await expect(
    registry.registry.rotateKey({ statement: rotationOf(clock, { ...service, key: next }, testKey("third")) }),
  ).rejects.toMatchObject({ reason: Reason.SERVICE_SUSPENDED });
  const unbound = await registry.registry.unbindService({ statement: unbindOf(clock, service) });
  const tombstone = openAnswer(ServiceAnswerSchema, present(unbound.answer)).message.service;
  expect(tombstone).toMatchObject({ status: ServiceStatus.REVOKED, keys: [], endpointUrl: "" });
});
