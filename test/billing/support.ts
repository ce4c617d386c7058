import { type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import pino from "pino";
import { onTestFinished } from "vitest";
import {
  type Bill,
  BillingService,
  type BillRequest,
  BillRequestSchema,
  BillSchema,
  type ReportUsageRequest,
} from "../../gen/omi/billing/v1/billing_service_pb.ts";
import { SubscriberService } from "../../gen/omi/event/v1/subscriber_service_pb.ts";
import type { Header, Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { type Billing, type BillingOptions, createBilling } from "../../src/billing/billing.ts";
import { Reason } from "../../src/core/refusal.ts";
import { createViews } from "../../src/directory/views.ts";
import { refusals } from "../../src/rpc/client/client.ts";
import { createServer } from "../../src/rpc/server.ts";
import type { SigningKey } from "../../src/statement/crypto.ts";
import { openAnswer, signStatement, statementId, verifySignature } from "../../src/statement/statement.ts";
import { signAccessToken } from "../../src/token/access-token.ts";
import type { AccessTokenClaims } from "../../src/token/claims.ts";
import { connectionsTo } from "../directory/support.ts";
import {
  announcementOf,
  backboneOf,
  bindTestService,
  headerAt,
  present,
  registerTestApp,
  type TestApp,
  type TestService,
} from "../support/developer.ts";
import { testBytes, testKey } from "../support/keys.ts";
import { type RunningRegistry, startRegistry } from "../support/registry.ts";

/** The Billing provider of the tests. */
export const billingProvider = { domain: "billing.test", key: testKey("provider billing.test") };

/** A real Billing provider on a real server. */
export type RunningBilling = {
  readonly billing: Billing;
  readonly client: Client<typeof BillingService>;
  readonly subscriptions: Client<typeof SubscriberService>;
  /** Where it listens, as `host:port`. */
  readonly at: string;
  stop(): Promise<void>;
};

/** Starts the Billing provider `billing.test`; it stops with the test, or before. */
export async function startBilling(
  registry: RunningRegistry,
  options: Partial<BillingOptions> = {},
): Promise<RunningBilling> {
  const { clock } = registry;
  const { registries } = connectionsTo(registry);
  const logger = pino({ level: process.env.LOG_LEVEL ?? "silent" });
  const billing = createBilling({
    domain: billingProvider.domain,
    providerKey: billingProvider.key,
    baseUrl: `http://${billingProvider.domain}`,
    databaseFile: ":memory:",
    registries,
    views: createViews({ registries, clock }),
    clock,
    random: testBytes,
    logger,
    ...options,
  });
  await billing.start();
  const server = createServer({
    host: "127.0.0.1",
    port: 0,
    development: true,
    logger,
    routes: (router) => billing.routes(router),
    httpRoutes: billing.httpRoutes,
  });
  await server.listen();
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= server.close(100).then(() => billing.stop());
    return stopped;
  };
  onTestFinished(stop);
  const baseUrl = server.address.url;
  const transport = refusals(createConnectTransport({ baseUrl, httpVersion: "2" }), Reason.INTERNAL);
  return {
    billing,
    client: createClient(BillingService, transport),
    subscriptions: createClient(SubscriberService, transport),
    at: `127.0.0.1:${server.address.port}`,
    stop,
  };
}

/** A registry and Billing, and an app with a service whose backbone names that Billing as `bill-1`. */
export type BillingWorld = {
  readonly registry: RunningRegistry;
  readonly running: RunningBilling;
  readonly app: TestApp;
  readonly service: TestService;
};

/** Starts a {@link BillingWorld}. */
export async function startWorld(options: Partial<BillingOptions> = {}): Promise<BillingWorld> {
  const registry = await startRegistry();
  const app = await newApp(registry);
  const service = await bindTestService(registry, app);
  return { registry, running: await startBilling(registry, options), app, service };
}

/** Registers an app with an Auth Provider and a backbone. */
export async function newApp(registry: RunningRegistry): Promise<TestApp> {
  const app = await registerTestApp(registry);
  await registry.registry.announceAuth({ statement: announcementOf(registry.clock, app) });
  await registry.registry.updateBackbone({
    statement: backboneOf(registry.clock, app, { expectedConfigEpoch: 1n }),
  });
  return app;
}

/** A token of a service for Billing, right unless something else is said. */
export function tokenOf(
  { clock }: RunningRegistry,
  { app, serviceId, key }: TestService,
  claims: Partial<AccessTokenClaims> = {},
  authKey: SigningKey = testKey(`auth ${app.appId}`),
): string {
  const now = clock.seconds();
  return signAccessToken(
    {
      iss: `http://auth.test/apps/${app.appId}`,
      sub: `service:${serviceId}`,
      aud: `${app.appId}/backbone.billing.bill-1`,
      app_id: app.appId,
      token_use: "service",
      iat: now,
      exp: now + 300,
      jti: "token-1",
      cnf: { jkt: key.keyId },
      ...claims,
    },
    authKey,
  );
}

/** The fields of a report; the rest is right. */
export type ReportFields = {
  reportId?: Uint8Array;
  appId?: string;
  serviceId?: string;
  lines?: { meter: string; amount: bigint }[];
};

/** Reports usage: one article, unless something else is said. */
export function report(
  { registry, running }: Pick<BillingWorld, "registry" | "running">,
  service: TestService,
  fields: ReportFields = {},
  token: string | undefined = tokenOf(registry, service),
) {
  const request: Omit<ReportUsageRequest, "$typeName" | "lines"> & Pick<Required<ReportFields>, "lines"> = {
    reportId: testBytes(16),
    appId: service.app.appId,
    serviceId: service.serviceId,
    lines: [{ meter: "articles_stored", amount: 1n }],
    ...fields,
  };
  return running.client.reportUsage(request, token === "" ? {} : { headers: { authorization: `Bearer ${token}` } });
}

/** A developer's request for a bill, right unless something else is said. */
export function billRequestOf(
  { clock }: RunningRegistry,
  { app, serviceId }: TestService,
  {
    header,
    signer = app.master,
    ...fields
  }: {
    header?: Partial<Omit<Header, "$typeName" | "signer">>;
    signer?: SigningKey;
  } & Partial<Pick<BillRequest, "appId" | "serviceId">> = {},
): Statement {
  const message = {
    header: { ...headerAt(clock, billingProvider.domain), ...header },
    appId: app.appId,
    serviceId,
    ...fields,
  };
  return signStatement(BillRequestSchema, message, signer);
}

/** Reads a bill as the developer; verifies it. */
export async function readBill(
  { registry, running }: Pick<BillingWorld, "registry" | "running">,
  service: TestService,
): Promise<Bill> {
  const statement = billRequestOf(registry, service);
  const { answer } = await running.client.readBill({ statement });
  const opened = openAnswer(BillSchema, present(answer));
  await verifySignature(opened, billingProvider.key.publicKey);
  if (Buffer.compare(opened.header.inReplyTo, statementId(statement)) !== 0) throw new Error("another answer");
  return opened.message;
}

/** The totals of a bill, e.g. `{ articles_stored: 3 }`. */
export function totalsOf({ totals }: Bill): Record<string, number> {
  return Object.fromEntries(totals.map(({ meter, amount }) => [meter, Number(amount)]));
}
