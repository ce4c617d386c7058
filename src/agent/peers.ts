import type { Transport } from "@connectrpc/connect";
import { ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import { isRefusal, Reason, Refusal } from "../core/refusal.ts";
import type { Connections } from "../directory/connections.ts";
import type { TenantId } from "../tenancy/tenants.ts";
import { type CallTarget, ServiceTokens, type ServiceTokensOptions } from "./service-tokens.ts";

/** What {@link Peers} needs. */
export type PeersOptions = ServiceTokensOptions & {
  readonly connections: Pick<Connections, "transportTo">;
};

type RequestHeaders = Parameters<Transport["unary"]>[3];

// Refusals that say that the token is no good, whatever its receiver thinks of the call.
const TOKEN_REFUSED: ReadonlySet<Reason> = new Set([Reason.TOKEN_INVALID, Reason.TOKEN_EXPIRED, Reason.TOKEN_REVOKED]);

/** The ways from tenants to the other parties of their apps. */
export class Peers {
  /** The tokens that the tenants show on them. */
  readonly tokens: ServiceTokens;
  readonly #options: PeersOptions;

  constructor(options: PeersOptions) {
    this.#options = options;
    this.tokens = new ServiceTokens(options);
  }

  /**
   * The way from a tenant to another party of its app. Where the party answers, and whether it may be called, is looked up
   * for each call in what the registry said at most a few seconds ago, and each call carries a service token.
   *
   * Calls fail with a Refusal: SERVICE_UNKNOWN, SERVICE_SUSPENDED or SERVICE_REVOKED, what {@link ServiceTokens.get} throws,
   * PROVIDER_UNAVAILABLE if the party can't be reached, and what it refuses.
   */
  transport(tenant: TenantId, target: CallTarget): Transport {
    const { tokens } = this;
    const { connections } = this.#options;
    const call = async <T>(header: RequestHeaders, make: (way: Transport, headers: Headers) => Promise<T>) => {
      const url = await this.#urlOf(tenant, target);
      const headers = new Headers(header);
      headers.set("authorization", `Bearer ${await tokens.get(tenant, target)}`);
      try {
        return await make(connections.transportTo(url), headers);
      } catch (error) {
        if (isRefusal(error) && TOKEN_REFUSED.has(error.reason)) tokens.drop(tenant, target);
        throw error;
      }
    };
    return {
      unary: (method, signal, timeoutMs, header, ...rest) =>
        call(header, (way, headers) => way.unary(method, signal, timeoutMs, headers, ...rest)),
      stream: (method, signal, timeoutMs, header, ...rest) =>
        call(header, (way, headers) => way.stream(method, signal, timeoutMs, headers, ...rest)),
    };
  }

  async #urlOf({ appId }: TenantId, target: CallTarget): Promise<string> {
    const { views } = this.#options;
    if (!("serviceId" in target)) {
      const { context } = await views.app(appId);
      const named = context?.operationalServices.find(({ role, name }) => role === target.role && name === target.name);
      if (named !== undefined) return named.url;
      throw new Refusal(Reason.SERVICE_UNKNOWN, "the app's backbone has no such operational service");
    }
    const { status, endpointUrl } = await views.service(appId, target.serviceId);
    if (status === ServiceStatus.ACTIVE) return endpointUrl;
    throw status === ServiceStatus.SUSPENDED
      ? new Refusal(Reason.SERVICE_SUSPENDED, "the called service is suspended")
      : new Refusal(Reason.SERVICE_REVOKED, "the called service is no longer part of the app");
  }
}
