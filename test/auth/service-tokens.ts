import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import {
  type ServiceTokenRequest,
  ServiceTokenRequestSchema,
  ServiceTokenService,
} from "../../gen/omi/auth/v1/token_service_pb.ts";
import type { Header, Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { Reason } from "../../src/core/refusal.ts";
import { refusals } from "../../src/rpc/client/client.ts";
import type { SigningKey } from "../../src/statement/crypto.ts";
import { signStatement } from "../../src/statement/statement.ts";
import { headerAt, type TestService } from "../support/developer.ts";
import { providers } from "../support/registry.ts";
import type { RunningProvider } from "./support.ts";

/** A client of a provider's ServiceTokenService. */
export function tokensOf({ url }: RunningProvider) {
  const transport = createConnectTransport({ baseUrl: url, httpVersion: "2" });
  return createClient(ServiceTokenService, refusals(transport, Reason.INTERNAL));
}

/** A service's request for a token, for the service `journal` unless something else is said. */
export function tokenRequestOf(
  { clock }: Pick<RunningProvider, "clock">,
  { app, serviceId, key }: TestService,
  fields: Partial<Omit<ServiceTokenRequest, "$typeName" | "$unknown" | "header">> = {},
  { header, signer = key }: { header?: Partial<Omit<Header, "$typeName" | "signer">>; signer?: SigningKey } = {},
): Statement {
  const target = "targetRole" in fields || "targetName" in fields ? {} : { targetServiceId: "journal" };
  return signStatement(
    ServiceTokenRequestSchema,
    {
      header: { ...headerAt(clock, providers.auth.domain), ...header },
      appId: app.appId,
      serviceId,
      ...target,
      ...fields,
    },
    signer,
  );
}
