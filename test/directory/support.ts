import { readFileSync } from "node:fs";
import { create, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import pino from "pino";
import { expect, onTestFinished } from "vitest";
import { DirectoryEntrySchema, Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { type RegistryKey, RegistryKeySchema, RegistryKeysSchema } from "../../gen/omi/registry/v1/registry_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { Refusal } from "../../src/core/refusal.ts";
import { type ClientConfig, clientConfigSchema } from "../../src/directory/client-config.ts";
import { type Connections, type ConnectionsDeps, createConnections } from "../../src/directory/connections.ts";
import { createDialer, type Dialer } from "../../src/rpc/client/dial.ts";
import type { HttpRoute } from "../../src/rpc/http/http-routes.ts";
import { createServer } from "../../src/rpc/server.ts";
import type { SigningKey } from "../../src/statement/crypto.ts";
import { signStatement } from "../../src/statement/statement.ts";
import { FakeClock } from "../support/clock.ts";
import { testBytes } from "../support/keys.ts";
import { type RunningRegistry, registryDomain } from "../support/registry.ts";

/** The files of a certificate for `*.mesh.test`. */
export const meshTls = {
  certFile: new URL("tls/cert.pem", import.meta.url).pathname,
  keyFile: new URL("tls/key.pem", import.meta.url).pathname,
};

/** The certificate, as the authority to trust. */
export const meshCa = readFileSync(meshTls.certFile);

/** The JSON form of a directory entry. */
export function entryJson(fields: MessageInitShape<typeof DirectoryEntrySchema>) {
  return toJson(DirectoryEntrySchema, create(DirectoryEntrySchema, fields));
}

/** A key of a directory entry or of a registry's key set, without limits in time. */
export function keyOf(key: SigningKey, window: { notBefore?: bigint; notAfter?: bigint } = {}): RegistryKey {
  return create(RegistryKeySchema, { publicKey: key.publicKey, algorithm: KeyAlgorithm.ED25519, ...window });
}

/** A registry's key set. */
export function keySetOf(
  domain: string,
  version: bigint,
  keys: readonly RegistryKey[],
  signer: SigningKey,
  issuedAt = 1_790_000_000,
): Statement {
  const header = { issuedAt: BigInt(issuedAt) };
  return signStatement(RegistryKeysSchema, { header, domain, version, keys: [...keys] }, signer);
}

/** Starts a server for parties below `mesh.test`, with TLS unless `plain`. Returns where it listens, as `host:port`. */
export async function startParty(options: {
  routes?: (router: ConnectRouter) => void;
  httpRoutes?: readonly HttpRoute[];
  plain?: boolean;
}): Promise<string> {
  const server = createServer({
    host: "127.0.0.1",
    port: 0,
    development: options.plain ?? false,
    tls: options.plain === true ? undefined : meshTls,
    logger: pino({ level: "silent" }),
    routes: options.routes ?? (() => {}),
    httpRoutes: options.httpRoutes ?? [],
  });
  await server.listen();
  onTestFinished(() => server.close(0));
  return `127.0.0.1:${server.address.port}`;
}

/** A dialler that trusts the certificate of `*.mesh.test` and finds its hosts at `address`. */
export function meshDialer(address: string): Dialer {
  const dialer = createDialer({ hosts: { "*.mesh.test": address }, ca: meshCa });
  onTestFinished(() => dialer.close());
  return dialer;
}

/** A route that serves a document at the well-known path and counts how often. */
export function documentRoute(body: () => string): HttpRoute & { readonly served: { count: number } } {
  const served = { count: 0 };
  return {
    method: "GET",
    path: "/.well-known/omi",
    served,
    handler() {
      served.count++;
      return { headers: { "content-type": "application/json" }, body: body() };
    },
  };
}

/** Connections of a client that finds the tests' registry by a preset entry. */
export function connectionsTo(
  registry: Pick<RunningRegistry, "key" | "url" | "clock">,
  config: Partial<Record<"directory", unknown[]>> & { hosts?: Record<string, string> } = {},
  deps: Partial<ConnectionsDeps> = {},
): Connections {
  const preset = entryJson({
    domain: registryDomain,
    party: Party.REGISTRY,
    baseUrl: `http://${registryDomain}`,
    keys: [{ publicKey: registry.key.publicKey, algorithm: KeyAlgorithm.ED25519 }],
  });
  return connectionsOf(
    {
      development: true,
      directory: [preset, ...(config.directory ?? [])],
      hosts: { [registryDomain]: new URL(registry.url).host, ...config.hosts },
    },
    { clock: registry.clock, ...deps },
  );
}

/** Connections of a configuration. */
export function connectionsOf(config: unknown, deps: Partial<ConnectionsDeps> = {}): Connections {
  const connections = createConnections(parseConfig(config), { clock: new FakeClock(), random: testBytes, ...deps });
  onTestFinished(() => connections.close());
  return connections;
}

/** A client configuration; throws zod's error if it has mistakes. */
export function parseConfig(config: unknown): ClientConfig {
  return clientConfigSchema.parse(config);
}

/** The Refusal of a call that must fail. */
export async function refusalOf(call: Promise<unknown> | (() => unknown)): Promise<Refusal> {
  try {
    await (typeof call === "function" ? call() : call);
  } catch (error) {
    expect(error).toBeInstanceOf(Refusal);
    return error as Refusal;
  }
  return expect.fail("the call succeeded");
}
