import { type App, AppAnswerSchema } from "../../../gen/omi/registry/v1/app_pb.ts";
import { type Service, ServiceAnswerSchema } from "../../../gen/omi/registry/v1/service_pb.ts";
import { openAnswer } from "../../../src/statement/statement.ts";
import { present, type TestService } from "../../support/developer.ts";
import type { RegistryClients } from "../../support/registry.ts";

/** An app as the registry shows it now. */
export async function resolvedApp({ resolver }: RegistryClients, appId: string): Promise<App> {
  const { answer } = await resolver.resolveApp({ appId });
  return present(openAnswer(AppAnswerSchema, present(answer)).message.app);
}

/** A service as the registry shows it now. */
export async function resolvedService(
  { resolver }: RegistryClients,
  appId: string,
  serviceId: string,
): Promise<Service> {
  const { answer } = await resolver.resolveService({ appId, serviceId });
  return present(openAnswer(ServiceAnswerSchema, present(answer)).message.service);
}

/** The IDs of the keys of a service that count now, the active one first. */
export async function keyIdsOf(registry: RegistryClients, { app, serviceId }: TestService): Promise<string[]> {
  const { keys } = await resolvedService(registry, app.appId, serviceId);
  return keys.map((key) => key.keyId);
}

/** An AppID that is another registry's. */
export const appIdElsewhere = "test.other-registry.alice.shop.0a1b2c";

/** An AppID of the tests' registry that nobody has registered. */
export const unknownAppId = "test.omi-registry.nobody.shop.0a1b2c";

/** A public key of small order: the neutral element. */
export const badKey = Uint8Array.from({ length: 32 }, (_, index) => (index === 0 ? 1 : 0));
