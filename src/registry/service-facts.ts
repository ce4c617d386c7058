import { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import type { RegistryCore } from "./core.ts";
import type { ServiceFacts } from "./rules/service.ts";

/** Loads what the rules about an existing service build on. Inside the transaction. */
export function loadServiceFacts(core: RegistryCore, appId: string, serviceId: string, now: number): ServiceFacts {
  return {
    app: core.store.app(appId),
    service: core.store.service(appId, serviceId),
    keys: core.store.keysOfService(appId, serviceId, KeyRole.SERVICE, now),
  };
}
