import { expect, test } from "vitest";
import { type ProcessConfigFile, processConfigSchema } from "../../src/operator/config.ts";

const settings = { servers: ["nats-1.internal:4222"], tls: {} };

function mistakesOf(nats: NonNullable<ProcessConfigFile["events"]>["nats"], development = false): string[] {
  const config: ProcessConfigFile = {
    mesh: { development },
    server: { port: 7100, tls: { certFile: "cert.pem", keyFile: "key.pem" } },
    events: { nats },
    registry: { domain: "omi-registry.test", databaseFile: "registry.db", keys: [{ file: "key.json" }] },
  };
  return processConfigSchema.safeParse(config).error?.issues.map(({ path }) => path.join(".")) ?? [];
}

test.each([
  [settings],
  [{ ...settings, servers: ["tls://nats-1.internal:4222", "nats://127.0.0.1:4222", "[::1]:4222"] }],
  [{ ...settings, nkeySeedFile: "nats.nk", stream: { name: "events", replicas: 3 as const } }],
  [{ ...settings, sessionStream: { name: "sessions", replicas: 3 as const, maxBytes: 1_000_000 } }],
  [{ ...settings, tls: { caFile: "ca.pem", certFile: "cert.pem", keyFile: "key.pem" }, credentialsFile: "nats.creds" }],
])("a configuration for NATS that is right", (nats) => {
  expect(mistakesOf(nats)).toEqual([]);
});

test.each([
  ["no server", { ...settings, servers: [] }, "events.nats.servers"],
  ["a server with a password", { ...settings, servers: ["nats://user:pass@nats:4222"] }, "events.nats.servers.0"],
  ["no TLS", { servers: settings.servers }, "events.nats.tls"],
  ["a certificate without key", { ...settings, tls: { certFile: "cert.pem" } }, "events.nats.tls"],
  ["two credentials", { ...settings, nkeySeedFile: "a", credentialsFile: "b" }, "events.nats.nkeySeedFile"],
  ["a consumer that is no token", { ...settings, consumer: "article.cms" }, "events.nats.consumer"],
  ["a stream that is no token", { ...settings, stream: { name: "a.>" } }, "events.nats.stream.name"],
  [
    "a stream of sessions that is no token",
    { ...settings, sessionStream: { name: "a b" } },
    "events.nats.sessionStream.name",
  ],
  [
    "a duplicate window beyond the age",
    { ...settings, stream: { maxAgeSeconds: 60 } },
    "events.nats.stream.duplicateWindowSeconds",
  ],
])("a configuration for NATS with %s", (_, nats, path) => {
  expect(mistakesOf(nats)).toEqual([path]);
});

test("in development NATS may be reached without TLS", () => {
  expect(mistakesOf({ servers: ["127.0.0.1:4222"] }, true)).toEqual([]);
});
