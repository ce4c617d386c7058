import { create } from "@bufbuild/protobuf";
import { expect } from "vitest";
import { BindServiceRequestSchema, RegistryService } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { ResolveAppRequestSchema, ResolverService } from "../../../gen/omi/registry/v1/resolver_service_pb.ts";
import { Reason } from "../../../src/core/refusal.ts";
import { bindingOf, registerTestApp } from "../../support/developer.ts";
import { startRegistry } from "../../support/registry.ts";
import type { Caller } from "./callers.ts";
import { unknownAppId } from "./records.ts";

/** Whoever calls, and however: the same bytes in give the same bytes out, and the same Reasons. */
export async function expectTheSame(call: Caller): Promise<void> {
  const registry = await startRegistry();
  const app = await registerTestApp(registry);
  const { url } = registry;
  const nonce = new Uint8Array(16).fill(7);

  const resolved = await call(
    url,
    ResolverService.method.resolveApp,
    create(ResolveAppRequestSchema, { appId: app.appId, nonce }),
  );
  expect(resolved.answer).toEqual((await registry.resolver.resolveApp({ appId: app.appId, nonce })).answer);

  const statement = bindingOf(registry.clock, app);
  const bound = await call(url, RegistryService.method.bindService, create(BindServiceRequestSchema, { statement }));
  expect(bound.answer).toEqual((await registry.registry.bindService({ statement })).answer);

  const unknown = create(ResolveAppRequestSchema, { appId: unknownAppId });
  await expect(call(url, ResolverService.method.resolveApp, unknown)).rejects.toMatchObject({
    reason: Reason.APP_UNKNOWN,
  });
  const taken = create(BindServiceRequestSchema, { statement: bindingOf(registry.clock, app) });
  await expect(call(url, RegistryService.method.bindService, taken)).rejects.toMatchObject({
    reason: Reason.SERVICE_ID_TAKEN,
  });
}
