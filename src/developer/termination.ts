import {
  type DataHandling,
  TerminateSchema,
  type TerminationReceipt,
  TerminationReceiptSchema,
  TerminationStatus,
} from "../../gen/omi/agent/v1/agent_pb.ts";
import { TenancyService } from "../../gen/omi/agent/v1/agent_service_pb.ts";
import { KeyStatus } from "../../gen/omi/registry/v1/app_pb.ts";
import { type Service, ServiceStatus, UnbindSchema } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { equalBytes } from "../core/bytes.ts";
import { answerInvalid, checkAnswer } from "../directory/answer-invalid.ts";
import { checkAudience } from "../statement/audience.ts";
import { openRequest, statementId, verifySignature } from "../statement/statement.ts";
import { type DeveloperCore, orderAt, readFresh, signAsMaster, writeAt } from "./core.ts";
import { stepOf } from "./step.ts";

/** A service of an app. */
export type ServiceRef = { readonly appId: string; readonly serviceId: string };

/** A service to end. */
export type TerminationOrder = ServiceRef & {
  /** What becomes of the data. */
  readonly dataHandling: DataHandling;
};

/** How a service ended. */
export type Termination = {
  /** The registry's tombstone. */
  readonly service: Service;
  /** The provider's receipt. Absent if the service was suspended or unbound, so that no key could sign one that counts. */
  readonly receipt?: TerminationReceipt;
  /** True if the receipt is for an earlier order, whose `dataHandling` may have been another. */
  readonly repeated: boolean;
};

/**
 * Ends a service for ever: the provider stops the bill, handles the data as ordered and gives a receipt; with it the
 * registry ends the binding. If the provider gives none, {@link unbindService} ends the binding all the same; the provider
 * can still be told afterwards.
 */
export async function terminateService(core: DeveloperCore, order: TerminationOrder): Promise<Termination> {
  const { appId, serviceId, dataHandling } = order;
  const registry = core.connections.registries.forApp(appId);
  const { value: record } = await readFresh(core, registry, (options) =>
    registry.resolveService(appId, serviceId, options),
  );
  const { provider } = record;
  const terminate = signAsMaster(core, TerminateSchema, provider, {
    appId,
    serviceId,
    context: "permanent_termination",
    dataHandling,
  });
  const response = await orderAt(core, provider, TenancyService, terminate, (client, statement) =>
    client.terminateService({ statement }),
  );
  if (record.status === ServiceStatus.REVOKED) return { service: record, repeated: false };
  const active = record.keys.find(({ status }) => status === KeyStatus.ACTIVE);
  if (active === undefined) return { service: await unbindService(core, order), repeated: false };
  const receipt = await checkReceipt(core, record, active.publicKey, registry.domain, response.receipt);
  const service = await unbind(core, order, response.receipt);
  return { service, receipt, repeated: !equalBytes(receipt.requestDigest, statementId(terminate)) };
}

/** Ends a service's binding for ever without asking its provider, which may be silent or hostile. */
export async function unbindService(core: DeveloperCore, { appId, serviceId }: ServiceRef): Promise<Service> {
  return unbind(core, { appId, serviceId }, undefined);
}

async function unbind(core: DeveloperCore, service: ServiceRef, receipt: Statement | undefined): Promise<Service> {
  const { appId, serviceId } = service;
  const registry = core.connections.registries.forApp(appId);
  const statement = signAsMaster(core, UnbindSchema, registry.domain, {
    appId,
    serviceId,
    context: "decommission",
    ...(receipt !== undefined && { providerReceipt: receipt }),
  });
  return (await writeAt(core, registry, statement, (unbinding) => registry.unbindService(unbinding))).value;
}

async function checkReceipt(
  core: DeveloperCore,
  { provider, appId, serviceId }: Service,
  serviceKey: Uint8Array,
  registryDomain: string,
  statement: Statement | undefined,
): Promise<TerminationReceipt> {
  if (statement === undefined) throw answerInvalid(provider, "receipt", "no receipt in it");
  const opened = await checkAnswer(provider, async () => {
    const receipt = openRequest(TerminationReceiptSchema, statement, { field: "receipt" });
    checkAudience(receipt, registryDomain);
    await verifySignature(receipt, serviceKey);
    return receipt;
  });
  const { message } = opened;
  if (message.appId !== appId || message.serviceId !== serviceId || message.status !== TerminationStatus.SUCCESS) {
    throw answerInvalid(provider, "receipt", "it is a receipt for something else");
  }
  core.onStep(stepOf("verified", statement, opened.header.signer, provider, "the service's key at the registry"));
  return message;
}
