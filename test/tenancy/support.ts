import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import pino from "pino";
import { expect, onTestFinished } from "vitest";
import {
  DataHandling,
  type RotateServiceKey,
  RotateServiceKeySchema,
  type ServiceKeyRotated,
  ServiceKeyRotatedSchema,
  type Terminate,
  TerminateSchema,
} from "../../gen/omi/agent/v1/agent_pb.ts";
import { TenancyService } from "../../gen/omi/agent/v1/agent_service_pb.ts";
import { DirectoryEntrySchema, Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { KeyStatus } from "../../gen/omi/registry/v1/app_pb.ts";
import { type Service, ServiceAnswerSchema } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Header, Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { toHex } from "../../src/core/bytes.ts";
import { type Failpoint, noFailpoints } from "../../src/core/failpoint.ts";
import { isRefusal, Reason, reasonName } from "../../src/core/refusal.ts";
import { createDirectory } from "../../src/directory/directory.ts";
import { createRegistries, type Registries } from "../../src/directory/registries.ts";
import { refusals } from "../../src/rpc/client/client.ts";
import { createDialer } from "../../src/rpc/client/dial.ts";
import { createServer } from "../../src/rpc/server.ts";
import type { SigningKey } from "../../src/statement/crypto.ts";
import { openAnswer, signStatement, verifySignature } from "../../src/statement/statement.ts";
import { openDatabase } from "../../src/store/database.ts";
import { noncesMigration } from "../../src/store/nonces.ts";
import { WriteQueue } from "../../src/store/write-queue.ts";
import { tenancyMigration } from "../../src/tenancy/migration.ts";
import { createTenancy, type Tenancy } from "../../src/tenancy/tenancy.ts";
import { type Fields, headerAt, present, type TestService } from "../support/developer.ts";
import { testBytes } from "../support/keys.ts";
import { providers, type RunningRegistry, registryDomain } from "../support/registry.ts";

export const logger = pino({ level: process.env.LOG_LEVEL ?? "silent" });

/** Where nobody listens. */
export const NOWHERE = "http://127.0.0.1:9";

/** A domain whose directory entry leads to the registry of the tests, which isn't it. */
export const otherRegistryDomain = "other-registry.test";

/** The way to a registry, or to where `url` says it is. Gone when the test is. */
export function wayTo(registry: RunningRegistry, url = registry.url): Registries {
  const { clock } = registry;
  const domains = [registryDomain, otherRegistryDomain];
  const entries = domains.map((domain) =>
    create(DirectoryEntrySchema, {
      domain,
      party: Party.REGISTRY,
      baseUrl: `http://${domain}`,
      keys: [{ publicKey: registry.key.publicKey, algorithm: KeyAlgorithm.ED25519 }],
    }),
  );
  const { host } = new URL(url);
  const hosts = Object.fromEntries(domains.map((domain) => [domain, host]));
  const dialer = createDialer({ hosts, allowPlain: () => true });
  onTestFinished(() => dialer.close());
  const directory = createDirectory({ entries, dialer, clock, allowedDomains: [] });
  return createRegistries({ directory, dialer, clock, random: testBytes });
}

/** How a part is started. */
export type PartOptions = {
  readonly databaseFile?: string;
  readonly failpoint?: Failpoint;
  /** Where it looks for the registry. */
  readonly registryUrl?: string;
  readonly dataHandling?: readonly DataHandling[];
  readonly onTerminate?: (handling: DataHandling) => void;
};

/** A part with tenants on a real server, and how often it was told to end one. */
export type RunningPart = {
  readonly tenancy: Tenancy;
  readonly client: Client<typeof TenancyService>;
  readonly terminations: readonly DataHandling[];
  stop(): Promise<void>;
};

/** Starts a part of the provider `article.cms.test`; it stops with the test, or before. */
export async function startPart(registry: RunningRegistry, options: PartOptions = {}): Promise<RunningPart> {
  const db = openDatabase(options.databaseFile ?? ":memory:", [`${noncesMigration}${tenancyMigration}`]);
  const failpoint = options.failpoint ?? noFailpoints;
  const writes = new WriteQueue(db, { failpoint });
  const terminations: DataHandling[] = [];
  const tenancy = createTenancy({
    provider: providers.article,
    db,
    writes,
    registries: wayTo(registry, options.registryUrl),
    clock: registry.clock,
    random: testBytes,
    logger,
    failpoint,
    ...(options.dataHandling !== undefined && { dataHandling: options.dataHandling }),
    onTerminate(_tenant, handling) {
      options.onTerminate?.(handling);
      terminations.push(handling);
    },
  });
  const server = createServer({ host: "127.0.0.1", port: 0, development: true, logger, routes: tenancy.routes });
  await server.listen();
  const transport = createConnectTransport({ baseUrl: server.address.url, httpVersion: "2" });
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= server.close(100).then(() => {
      writes.close();
      db.close();
    });
    return stopped;
  };
  onTestFinished(stop);
  return { tenancy, client: createClient(TenancyService, refusals(transport, Reason.INTERNAL)), terminations, stop };
}

/** Makes a bound service a tenant of the part. */
export async function adopt({ tenancy }: RunningPart, service: TestService, now: number): Promise<void> {
  const tenant = { appId: service.app.appId, serviceId: service.serviceId };
  await tenancy.writes.run("test.adopt", () => {
    tenancy.tenants.insert(tenant, "ACTIVE", now);
    tenancy.keys.replace(tenant, service.key, now);
  });
}

/** What an order can be made to say or be instead of what is right. */
export type OrderChanges = { readonly header?: Partial<Header>; readonly signer?: SigningKey };

/** Signs an order for the provider `article.cms.test`. */
export function signOrder<Desc extends DescMessage>(
  registry: RunningRegistry,
  schema: Desc,
  fields: MessageInitShape<Desc>,
  master: SigningKey,
  { header, signer = master }: OrderChanges = {},
): Statement {
  const ownHeader = { ...headerAt(registry.clock, providers.article.domain), ...header };
  return signStatement(schema, { ...fields, header: ownHeader } as MessageInitShape<Desc>, signer);
}

/** An order to end a service. */
export function terminateOf(
  registry: RunningRegistry,
  { app, serviceId }: TestService,
  fields: Partial<Fields<typeof TerminateSchema>> = {},
  changes: OrderChanges = {},
): Statement {
  const message = {
    appId: app.appId,
    serviceId,
    context: "permanent_termination",
    dataHandling: DataHandling.WIPE,
    ...fields,
  } as Terminate;
  return signOrder(registry, TerminateSchema, message, app.master, changes);
}

/** An order to rotate a service's key. */
export function rotateOf(
  registry: RunningRegistry,
  { app, serviceId }: TestService,
  fields: Partial<Fields<typeof RotateServiceKeySchema>> = {},
  changes: OrderChanges = {},
): Statement {
  const message = { appId: app.appId, serviceId, ...fields } as RotateServiceKey;
  return signOrder(registry, RotateServiceKeySchema, message, app.master, changes);
}

/** Sends an order to rotate; verifies the answer and opens it. */
export async function rotate({ client }: RunningPart, statement: Statement): Promise<ServiceKeyRotated> {
  const { answer } = await client.rotateServiceKey({ statement });
  const opened = openAnswer(ServiceKeyRotatedSchema, present(answer));
  await verifySignature(opened, providers.article.key.publicKey);
  return opened.message;
}

/** Sends an order to end a service; returns the receipt. */
export async function terminate({ client }: RunningPart, statement: Statement): Promise<Statement> {
  return present((await client.terminateService({ statement })).receipt);
}

/** The service as the registry has it. */
export async function recordOf(registry: RunningRegistry, { app, serviceId }: TestService): Promise<Service> {
  const { answer } = await registry.resolver.resolveService({ appId: app.appId, serviceId });
  return present(openAnswer(ServiceAnswerSchema, present(answer)).message.service);
}

/**
 * Checks that the part holds the keys that the registry has for a service, and that nothing is under way.
 *
 * @returns the current and the grace key, in hex
 */
export async function agreedKeys(registry: RunningRegistry, { tenancy }: RunningPart, service: TestService) {
  const tenant = { appId: service.app.appId, serviceId: service.serviceId };
  const { keys } = await recordOf(registry, service);
  const registered = keys.map(({ publicKey, status, notAfter }) => [hex(publicKey), status, Number(notAfter)]);
  const current = tenancy.keys.current(tenant)?.publicKey;
  const grace = tenancy.keys.grace(tenant);
  const held: unknown[] = [[hex(current), KeyStatus.ACTIVE, 0]];
  if (grace !== undefined && grace.notAfter > registry.clock.seconds()) {
    held.push([hex(grace.publicKey), KeyStatus.GRACE, grace.notAfter]);
  }
  expect(held).toEqual(registered);
  expect(tenancy.rotations.pending(tenant)).toBeUndefined();
  expect(tenancy.keys.next(tenant)).toBeUndefined();
  return { current: hex(current), grace: grace && hex(grace.publicKey) };
}

/** Bytes as text, to compare them. */
export function hex(bytes: Uint8Array | undefined): string {
  return toHex(bytes ?? new Uint8Array());
}

/** `ok`, or the Reason that a call ends with, and behind it what its metadata say of field and registry. */
export async function outcomeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "ok";
  } catch (error) {
    if (!isRefusal(error)) throw error;
    const { field, registry_reason: registryReason } = error.metadata;
    return [reasonName(error.reason), field ?? registryReason].filter((part) => part !== undefined).join(" ");
  }
}
