import {
  type Bill,
  BillingService,
  BillRequestSchema,
  BillSchema,
} from "../../gen/omi/billing/v1/billing_service_pb.ts";
import { Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { OperationalRole } from "../../gen/omi/registry/v1/app_pb.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { parseUrl } from "../core/url.ts";
import { answerInvalid } from "../directory/answer-invalid.ts";
import { type DeveloperCore, orderAt, readFresh, signAsMaster, verifyProviderAnswer } from "./core.ts";
import { findProvider } from "./provider.ts";
import type { ServiceRef } from "./termination.ts";

/** A bill to read. */
export type BillOrder = ServiceRef & {
  /** The domain of the Billing provider. The host of the only billing service in the app's backbone if left out. */
  readonly provider?: string;
};

/**
 * Reads what a service has used: the running bill, or the final one once the service was unbound.
 *
 * @throws Refusal PROVIDER_UNKNOWN {domain}; SERVICE_UNKNOWN if no provider is named and the backbone doesn't name exactly one
 *   billing service; ACCOUNT_UNKNOWN if the service never reported usage
 */
export async function readBill(core: DeveloperCore, order: BillOrder): Promise<Bill> {
  const { appId, serviceId } = order;
  const provider = order.provider ?? (await billingHostOf(core, appId));
  const entry = await findProvider(core, provider, Party.BILLING_PROVIDER);
  const request = signAsMaster(core, BillRequestSchema, provider, { appId, serviceId });
  const { answer } = await orderAt(core, provider, BillingService, request, (client, statement) =>
    client.readBill({ statement }),
  );
  const { message } = await verifyProviderAnswer(core, entry, BillSchema, answer, request);
  if (message.appId !== appId) throw answerInvalid(provider, "answer.app_id", "it is a bill of another app");
  if (message.serviceId !== serviceId) {
    throw answerInvalid(provider, "answer.service_id", "it is a bill of another service");
  }
  return message;
}

async function billingHostOf(core: DeveloperCore, appId: string): Promise<string> {
  const registry = core.connections.registries.forApp(appId);
  const { value: app } = await readFresh(core, registry, (options) => registry.resolveApp(appId, options));
  const services = app.context?.operationalServices.filter(({ role }) => role === OperationalRole.BILLING) ?? [];
  const hosts = new Set(services.map(({ url }) => parseUrl(url, core.connections.allowPlainHttp)?.host ?? ""));
  const [host, ...others] = hosts;
  if (host !== undefined && host !== "" && others.length === 0) return host;
  throw new Refusal(Reason.SERVICE_UNKNOWN, "the app's backbone does not name exactly one billing service", {
    nextStep: "Name the Billing provider's domain.",
  });
}
