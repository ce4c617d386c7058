import { create } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import pino from "pino";
import { expect, onTestFinished } from "vitest";
import { DataHandling, RotateServiceKeySchema, TerminateSchema } from "../../gen/omi/agent/v1/agent_pb.ts";
import { TenancyService } from "../../gen/omi/agent/v1/agent_service_pb.ts";
import { type AuthProvisioned, AuthProvisionedSchema, ProvisionAuthSchema } from "../../gen/omi/auth/v1/auth_pb.ts";
import { AuthProviderService, UserService } from "../../gen/omi/auth/v1/auth_service_pb.ts";
import { DirectoryEntrySchema, Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { SubscriberService } from "../../gen/omi/event/v1/subscriber_service_pb.ts";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { AppAnswerSchema, AuthAnnouncementSchema } from "../../gen/omi/registry/v1/app_pb.ts";
import type { Header, Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { type AuthProviderOptions, createAuthProvider } from "../../src/auth/auth-provider.ts";
import { isRefusal, Reason, reasonName } from "../../src/core/refusal.ts";
import { createDirectory } from "../../src/directory/directory.ts";
import { createRegistries } from "../../src/directory/registries.ts";
import { createViews } from "../../src/directory/views.ts";
import { refusals } from "../../src/rpc/client/client.ts";
import { createDialer } from "../../src/rpc/client/dial.ts";
import { createServer } from "../../src/rpc/server.ts";
import type { SigningKey } from "../../src/statement/crypto.ts";
import { openAnswer, signStatement } from "../../src/statement/statement.ts";
import type { FakeClock } from "../support/clock.ts";
import { bindTestService, headerAt, present, registerTestApp, type TestApp } from "../support/developer.ts";
import { testBytes } from "../support/keys.ts";
import { providers, type RunningRegistry, registryDomain, startRegistry } from "../support/registry.ts";

/** A hash that costs next to nothing. */
export const cheapHash = { memoryKib: 8, passes: 1, parallelism: 1 };

/** The service that users sign in for. */
export const SERVICE_ID = "cms-article-77";

/** A real Auth Provider on a real server. */
export interface RunningProvider {
  auth: Client<typeof AuthProviderService>;
  users: Client<typeof UserService>;
  tenancy: Client<typeof TenancyService>;
  subscriptions: Client<typeof SubscriberService>;
  clock: FakeClock;
  registry: RunningRegistry;
  /** Where it listens, e.g. `http://127.0.0.1:43210`. */
  url: string;
  stop(): Promise<void>;
}

/**
 * Starts the Auth Provider `auth.test` beside a registry; it stops with the test, or before.
 *
 * @param pinned the registry key that the provider trusts
 */
export async function startProvider(
  registry: RunningRegistry,
  options: Partial<AuthProviderOptions> = {},
  pinned: SigningKey = registry.key,
): Promise<RunningProvider> {
  const { clock } = registry;
  const { domain, key: providerKey } = providers.auth;
  const { provider, close } = providerOf(registry, options);
  await provider.start();
  const server = createServer({
    host: "127.0.0.1",
    port: 0,
    development: true,
    logger: pino({ level: process.env.LOG_LEVEL ?? "silent" }),
    routes: (router) => provider.routes(router),
    httpRoutes: provider.httpRoutes,
    readyStreams: provider.readyStreams,
  });
  await server.listen();
  let stopped = false;
  const stop = async () => {
    if (stopped) return;
    stopped = true;
    await server.close(100);
    await close();
  };
  onTestFinished(stop);
  const { url } = server.address;
  const transport = refusals(createConnectTransport({ baseUrl: url, httpVersion: "2" }), Reason.INTERNAL);
  return {
    auth: createClient(AuthProviderService, transport),
    users: createClient(UserService, transport),
    tenancy: createClient(TenancyService, transport),
    subscriptions: createClient(SubscriberService, transport),
    clock,
    registry,
    url,
    stop,
  };

  function providerOf({ url }: RunningRegistry, options: Partial<AuthProviderOptions>) {
    const registryEntry = create(DirectoryEntrySchema, {
      domain: registryDomain,
      party: Party.REGISTRY,
      baseUrl: `http://${registryDomain}`,
      keys: [{ publicKey: pinned.publicKey, algorithm: KeyAlgorithm.ED25519 }],
    });
    const dialer = createDialer({ hosts: { [registryDomain]: new URL(url).host }, allowPlain: () => true });
    const directory = createDirectory({ entries: [registryEntry], dialer, clock, allowedDomains: [] });
    const registries = createRegistries({ directory, dialer, clock, random: testBytes });
    const provider = createAuthProvider({
      domain,
      providerKey,
      baseUrl: `http://${domain}`,
      databaseFile: ":memory:",
      registries,
      views: createViews({ registries, clock }),
      clock,
      random: testBytes,
      logger: pino({ level: process.env.LOG_LEVEL ?? "silent" }),
      signUp: "open",
      passwordHash: cheapHash,
      ...options,
    });
    return {
      provider,
      async close() {
        await provider.stop();
        dialer.close();
      },
    };
  }
}

/** A registry, an Auth Provider and an app. */
export async function startMesh(
  options: Partial<AuthProviderOptions> = {},
): Promise<{ registry: RunningRegistry; provider: RunningProvider; app: TestApp }> {
  const registry = await startRegistry();
  const provider = await startProvider(registry, options);
  return { registry, provider, app: await registerTestApp(registry) };
}

/** As {@link startMesh}, with the provider announced and {@link SERVICE_ID} bound. */
export async function startAnnouncedMesh(options: Partial<AuthProviderOptions> = {}) {
  const mesh = await startMesh(options);
  const answer = await announce(mesh.provider, mesh.app);
  const service = await bindTestService(mesh.registry, mesh.app, SERVICE_ID);
  return { ...mesh, answer, service };
}

/** An order to be an app's Auth Provider, right unless something else is said. */
export function provisionOf(
  { clock }: { clock: FakeClock },
  app: TestApp,
  changes: { header?: Partial<Omit<Header, "$typeName" | "signer">>; appId?: string; signer?: SigningKey } = {},
): Statement {
  const header = { ...headerAt(clock, providers.auth.domain), ...changes.header };
  return signStatement(
    ProvisionAuthSchema,
    { header, appId: changes.appId ?? app.appId },
    changes.signer ?? app.master,
  );
}

/** Sends an order and opens the answer, whose signature is not verified. */
export async function provision(
  { auth }: RunningProvider,
  statement: Statement,
): Promise<{ answer: Statement; message: AuthProvisioned }> {
  const answer = present((await auth.provisionAuth({ statement })).answer);
  return { answer, message: openAnswer(AuthProvisionedSchema, answer).message };
}

/** Announces what a provider answered. */
export async function announceAnswer(
  { registry, clock }: RunningProvider,
  app: TestApp,
  answer: Statement,
): Promise<void> {
  const { authPublicKey, servicePublicKey, authProviderUrl } = openAnswer(AuthProvisionedSchema, answer).message;
  const resolved = await registry.resolver.resolveApp({ appId: app.appId });
  const context = openAnswer(AppAnswerSchema, present(resolved.answer)).message.app?.context;
  const message = {
    header: headerAt(clock),
    appId: app.appId,
    authPublicKey,
    servicePublicKey,
    authProviderUrl,
    authProvider: providers.auth.domain,
    providerAnswer: answer,
    expectedConfigEpoch: context?.configEpoch ?? 0n,
  };
  await registry.registry.announceAuth({ statement: signStatement(AuthAnnouncementSchema, message, app.master) });
}

/** Orders keys and announces them. */
export async function announce(provider: RunningProvider, app: TestApp): Promise<AuthProvisioned> {
  const { answer, message } = await provision(provider, provisionOf(provider, app));
  await announceAnswer(provider, app, answer);
  return message;
}

/**
 * Waits until a provider has heard of all that happened to an app so far: what it reads of the app from then on, nothing that
 * happened before makes it forget again.
 */
export async function untilHeard({ registry, subscriptions }: RunningProvider, { appId }: TestApp): Promise<void> {
  const { events } = await registry.events.listEvents({ appId });
  const applied = async () => Number((await subscriptions.getSubscription({ appId })).appliedSequence);
  await expect.poll(applied, { timeout: 10_000, interval: 5 }).toBe(events.length);
}

/** An order to end the app's tenant. */
export function terminateOf(
  { clock }: { clock: FakeClock },
  app: TestApp,
  dataHandling: DataHandling = DataHandling.WIPE,
): Statement {
  const message = {
    header: headerAt(clock, providers.auth.domain),
    appId: app.appId,
    serviceId: "auth",
    context: "permanent_termination",
    dataHandling,
  };
  return signStatement(TerminateSchema, message, app.master);
}

/** An order to rotate the Service key of the app's tenant. */
export function rotateOf({ clock }: { clock: FakeClock }, app: TestApp): Statement {
  const message = { header: headerAt(clock, providers.auth.domain), appId: app.appId, serviceId: "auth" };
  return signStatement(RotateServiceKeySchema, message, app.master);
}

/** `ok`, or the Reason of the Refusal that a call ends with, with `field` or `rule` behind it if there is one. */
export async function outcomeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "ok";
  } catch (error) {
    if (!isRefusal(error)) throw error;
    const { field, rule } = error.metadata;
    return [reasonName(error.reason), field, rule].filter((part) => part !== undefined).join(" ");
  }
}
