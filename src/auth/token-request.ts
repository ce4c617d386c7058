import { type ServiceTokenRequest, ServiceTokenRequestSchema } from "../../gen/omi/auth/v1/token_service_pb.ts";
import { type App, type KeyRecord, OperationalRole } from "../../gen/omi/registry/v1/app_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { type FieldRule, fieldInvalid } from "../core/field-invalid.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { checkAudience } from "../statement/audience.ts";
import { type OpenedRequest, openRequest, verifySignature } from "../statement/statement.ts";
import { audienceOf, backboneAudienceOf } from "../token/claims.ts";
import { type AppViews, requireActive } from "./app-views.ts";
import { type AuthCore, tenantOf } from "./core.ts";

/** A service's request for a token that verifies, and the record of the key that signed it. */
export type OpenedTokenRequest = {
  readonly opened: OpenedRequest<typeof ServiceTokenRequestSchema>;
  readonly key: KeyRecord;
};

/**
 * Opens a request for a service token: form, type, audience, and the signature by a key that the registry lists for the
 * asking service at this moment.
 *
 * @throws Refusal what is wrong with the Statement; TENANT_UNKNOWN, TENANT_TERMINATED; SERVICE_UNKNOWN, SERVICE_SUSPENDED or
 *   SERVICE_REVOKED for the asking service; SIGNER_UNKNOWN, SIGNATURE_INVALID, VIEW_STALE or REGISTRY_UNAVAILABLE
 */
export async function openTokenRequest(
  { tenancy, views }: Pick<AuthCore, "tenancy" | "views">,
  statement: Statement | undefined,
): Promise<OpenedTokenRequest> {
  const opened = openRequest(ServiceTokenRequestSchema, statement);
  requireOneTarget(opened.message);
  checkAudience(opened, tenancy.provider.domain);
  tenancy.tenants.active(tenantOf(opened.message.appId));
  const key = await signerOf(opened, views);
  await verifySignature(opened, key.publicKey);
  return { opened, key };
}

/**
 * The audience of the token that a request asks for.
 *
 * @throws Refusal SERVICE_UNKNOWN, SERVICE_SUSPENDED or SERVICE_REVOKED for the target, VIEW_STALE or REGISTRY_UNAVAILABLE
 */
export async function audienceFor(request: ServiceTokenRequest, views: AppViews): Promise<string> {
  const { appId, targetServiceId, targetRole, targetName } = request;
  if (targetServiceId !== "") {
    await views.requireActive(appId, targetServiceId);
    return audienceOf(appId, targetServiceId);
  }
  // A backbone that was set a moment ago may be newer than the view.
  if (!names(await views.app(appId), request) && !names(await views.refresh(appId), request)) {
    throw new Refusal(Reason.SERVICE_UNKNOWN, "the app's backbone has no such operational service");
  }
  return backboneAudienceOf(appId, targetRole, targetName);
}

async function signerOf(
  { message: { appId, serviceId }, header: { signer } }: OpenedTokenRequest["opened"],
  views: AppViews,
): Promise<KeyRecord> {
  const named = ({ keyId }: KeyRecord) => keyId === signer;
  const known = await views.service(appId, serviceId);
  // The service may have rotated its key, or have been restored, a moment ago.
  const service = known.keys.some(named) ? known : await views.refreshService(appId, serviceId);
  requireActive(service);
  const key = service.keys.find(named);
  if (key === undefined) {
    const metadata = { field: "header.signer" };
    throw new Refusal(Reason.SIGNER_UNKNOWN, "header.signer: no key of this service", { metadata });
  }
  return key;
}

/** A request names either a service or an operational service, and that one whole. */
function requireOneTarget({ targetServiceId, targetRole, targetName }: ServiceTokenRequest): void {
  const hasRole = targetRole !== OperationalRole.UNSPECIFIED;
  const hasName = targetName !== "";
  if (targetServiceId !== "" && (hasRole || hasName)) throw targetInvalid("target_service_id", "exclusive");
  if (targetServiceId !== "" || (hasRole && hasName)) return;
  throw targetInvalid(hasRole ? "target_name" : hasName ? "target_role" : "target_service_id", "required");
}

function targetInvalid(field: string, rule: FieldRule): Refusal {
  return fieldInvalid(field, rule, { message: `${field}: a token is for one target` });
}

function names({ context }: App, { targetRole, targetName }: ServiceTokenRequest): boolean {
  return context?.operationalServices.some(({ role, name }) => role === targetRole && name === targetName) ?? false;
}
