import { createClient } from "@connectrpc/connect";
import { ServiceTokenRequestSchema, ServiceTokenService } from "../../gen/omi/auth/v1/token_service_pb.ts";
import type { OperationalRole } from "../../gen/omi/registry/v1/app_pb.ts";
import { unixSeconds } from "../core/clock.ts";
import { LruCache } from "../core/lru-cache.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { answerInvalid } from "../directory/answer-invalid.ts";
import type { Connections } from "../directory/connections.ts";
import type { Views } from "../directory/views.ts";
import { signStatement } from "../statement/statement.ts";
import { headerFor } from "../tenancy/request-header.ts";
import type { TenancyState } from "../tenancy/state.ts";
import { type TenantId, tenantKey } from "../tenancy/tenants.ts";
import { MAX_TOKEN_LENGTH } from "../token/compact.ts";

/** Whom a tenant calls: another service of its app, or an operational service of the app's backbone. */
export type CallTarget = { readonly serviceId: string } | { readonly role: OperationalRole; readonly name: string };

/** What {@link ServiceTokens} needs. */
export type ServiceTokensOptions = {
  readonly tenancy: Pick<TenancyState, "tenants" | "keys" | "clock" | "random">;
  readonly views: Views;
  readonly connections: Pick<Connections, "transportFor">;
};

type KnownToken = { readonly token: string; readonly keyId: string; readonly freshUntil: number };

const CAPACITY = 10_000;

/** The part of a token's life after which a new one is asked for. */
const FRESH = 2 / 3;

/** The tokens with which tenants call other parties of their apps; each is kept for most of its life. */
export class ServiceTokens {
  readonly #options: ServiceTokensOptions;
  readonly #known = new LruCache<string, KnownToken>(CAPACITY);
  readonly #underWay = new Map<string, Promise<string>>();

  constructor(options: ServiceTokensOptions) {
    this.#options = options;
  }

  /**
   * A token with which the tenant may call the target. It is a secret.
   *
   * @throws Refusal TENANT_UNKNOWN, TENANT_TERMINATED; AUTH_MISSING if the app has no Auth Provider; what the view of the app
   *   and the directory throw; PROVIDER_UNAVAILABLE if the Auth Provider can't be reached, and what it refuses;
   *   ANSWER_INVALID if it gives no token that is good now, or one of more than {@link MAX_TOKEN_LENGTH} characters
   */
  async get(tenant: TenantId, target: CallTarget): Promise<string> {
    const { tenants, keys, clock } = this.#options.tenancy;
    // One that is being ended still has its key, and its last bills to settle.
    if (tenants.get(tenant)?.state !== "TERMINATING") tenants.active(tenant);
    const keyId = keys.currentId(tenant);
    const name = nameOf(tenant, target);
    const known = this.#known.get(name);
    // A token of the key before may be accepted for a while, or not: that key's end is not this tenant's to decide.
    if (known !== undefined && known.keyId === keyId && unixSeconds(clock) < known.freshUntil) return known.token;
    const asking = `${name}/${keyId}`;
    let asked = this.#underWay.get(asking);
    if (asked === undefined) {
      asked = this.#ask(tenant, target).finally(() => this.#underWay.delete(asking));
      this.#underWay.set(asking, asked);
    }
    return asked;
  }

  /** Forgets a token, as somebody has refused it. */
  drop(tenant: TenantId, target: CallTarget): void {
    this.#known.delete(nameOf(tenant, target));
  }

  async #ask(tenant: TenantId, target: CallTarget): Promise<string> {
    const { tenancy, views, connections } = this.#options;
    const key = tenancy.keys.current(tenant);
    if (key === undefined) throw new Error("a tenant that is not ended has no current key");
    const { context } = await views.app(tenant.appId);
    const domain = context?.authProvider ?? "";
    if (domain === "") throw new Refusal(Reason.AUTH_MISSING, "the app has no Auth Provider");
    const now = unixSeconds(tenancy.clock);
    const statement = signStatement(
      ServiceTokenRequestSchema,
      {
        header: headerFor(domain, now, tenancy.random),
        appId: tenant.appId,
        serviceId: tenant.serviceId,
        ...("serviceId" in target
          ? { targetServiceId: target.serviceId }
          : { targetRole: target.role, targetName: target.name }),
      },
      key,
    );
    const transport = await connections.transportFor(domain);
    const answer = await createClient(ServiceTokenService, transport).issueServiceToken({ statement });
    const life = Number(answer.expiresAt) - now;
    if (answer.accessToken === "" || life <= 0)
      throw answerInvalid(domain, "access_token", "no token that is good now");
    const { accessToken: token } = answer;
    // Whom it is for would refuse it, and until then it would be kept.
    if (token.length > MAX_TOKEN_LENGTH) throw answerInvalid(domain, "access_token", "a token that is too long");
    this.#known.set(nameOf(tenant, target), { token, keyId: key.keyId, freshUntil: now + life * FRESH });
    return token;
  }
}

/** No ID, role or name holds a slash. */
function nameOf(tenant: TenantId, target: CallTarget): string {
  const of = "serviceId" in target ? target.serviceId : `${target.role}/${target.name}`;
  return `${tenantKey(tenant)}/${of}`;
}
