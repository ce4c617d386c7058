import type { Bill } from "../../gen/omi/billing/v1/billing_service_pb.ts";
import type { App } from "../../gen/omi/registry/v1/app_pb.ts";
import type { Namespace } from "../../gen/omi/registry/v1/namespace_pb.ts";
import type { Service } from "../../gen/omi/registry/v1/service_pb.ts";
import { type AppOrder, type BackboneOrder, registerApp, updateBackbone } from "./apps.ts";
import { type AuthOrder, provisionAuth } from "./auth-provider.ts";
import { type BillOrder, readBill } from "./bills.ts";
import type { DeveloperCore } from "./core.ts";
import { activateNamespace, claimNamespace, type NamespaceOrder, resendActivationCode } from "./namespaces.ts";
import { masterReset, type RotationOrder, rotateServiceKey, suspendService } from "./service-keys.ts";
import { provisionService, type ServiceOrder, type ServiceSettings } from "./services.ts";
import {
  type ServiceRef,
  type Termination,
  type TerminationOrder,
  terminateService,
  unbindService,
} from "./termination.ts";

/** What {@link createDeveloper} needs. `onStep` is told of every statement that is signed, sent and verified. */
export type DeveloperOptions = Omit<DeveloperCore, "onStep"> & Partial<Pick<DeveloperCore, "onStep">>;

/**
 * A developer with their Master key: the flows in which they compose and control an app.
 *
 * Each flow verifies every answer, and repeats what was not answered with the same bytes, a few times. It throws the
 * Refusal of the party that refused (a `RemoteRefusal`), or its own: ANSWER_INVALID {field, domain} if an answer does not
 * verify, PROVIDER_UNKNOWN {domain}, REGISTRY_UNAVAILABLE {registry}, PROVIDER_UNAVAILABLE {host}. A
 * flow that broke off is run again from its beginning; nothing happens twice.
 */
export interface Developer {
  /** See {@link claimNamespace}. */
  claimNamespace(order: NamespaceOrder): Promise<Namespace>;
  /** See {@link activateNamespace}. */
  activateNamespace(order: { registry: string; namespace: string; code: string }): Promise<Namespace>;
  /** See {@link resendActivationCode}. */
  resendActivationCode(order: { registry: string; namespace: string }): Promise<Namespace>;
  /** See {@link registerApp}. */
  registerApp(order: AppOrder): Promise<App>;
  /** See {@link updateBackbone}. */
  updateBackbone(order: BackboneOrder): Promise<App>;
  /** See {@link provisionAuth}. */
  provisionAuth(order: AuthOrder): Promise<App>;
  /** See {@link provisionService}. */
  provisionService(order: ServiceOrder): Promise<Service>;
  /** See {@link terminateService}. */
  terminateService(order: TerminationOrder): Promise<Termination>;
  /** See {@link readBill}. */
  readBill(order: BillOrder): Promise<Bill>;
  /** See {@link unbindService}. */
  unbindService(service: ServiceRef): Promise<Service>;
  /** See {@link rotateServiceKey}. */
  rotate(order: RotationOrder): Promise<Service>;
  /** See {@link suspendService}. */
  suspend(service: ServiceRef): Promise<Service>;
  /** See {@link masterReset}. */
  masterReset(order: ServiceRef & ServiceSettings): Promise<{ readonly service: Service; readonly app?: App }>;
}

/** Makes the flows of a developer. */
export function createDeveloper(options: DeveloperOptions): Developer {
  const core: DeveloperCore = { onStep: () => {}, ...options };
  return {
    claimNamespace: (order) => claimNamespace(core, order),
    activateNamespace: (order) => activateNamespace(core, order),
    resendActivationCode: (order) => resendActivationCode(core, order),
    registerApp: (order) => registerApp(core, order),
    updateBackbone: (order) => updateBackbone(core, order),
    provisionAuth: (order) => provisionAuth(core, order),
    provisionService: (order) => provisionService(core, order),
    terminateService: (order) => terminateService(core, order),
    readBill: (order) => readBill(core, order),
    unbindService: (service) => unbindService(core, service),
    rotate: (order) => rotateServiceKey(core, order),
    suspend: (service) => suspendService(core, service),
    masterReset: (order) => masterReset(core, order),
  };
}
