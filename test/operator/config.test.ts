import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { toBase64Url } from "../../src/core/bytes.ts";
import { processConfigSchema } from "../../src/operator/config.ts";
import { testKey } from "../support/keys.ts";

const publicKey = toBase64Url(testKey("registry").publicKey);

test("the configurations in the documentation are right", () => {
  const text = readFileSync(new URL("../../docs/operations.md", import.meta.url), "utf8");
  const blocks = [...text.matchAll(/```json\n(.*?)```/gs)].map(([, json = ""]) => JSON.parse(json));
  expect(blocks).toHaveLength(2);
  for (const block of blocks) expect(processConfigSchema.safeParse(block).error?.issues).toBeUndefined();
});

test.each<[what: string, key: object, mistakes: string[]]>([
  ["a file", { file: "key.json" }, []],
  ["a file and an end", { file: "key.json", notAfter: 1_790_000_000 }, []],
  ["the public half of a key that has ended", { publicKey, notAfter: 1_790_000_000 }, []],
  ["the public half of a key without end", { publicKey }, ["registry.keys.0.notAfter"]],
  ["both halves in two places", { file: "key.json", publicKey, notAfter: 1 }, ["registry.keys.0"]],
  ["neither", { notAfter: 1 }, ["registry.keys.0"]],
  ["a public key that is none", { publicKey: "AAAA", notAfter: 1 }, ["registry.keys.0.publicKey"]],
])("a registry key with %s", (_, key, mistakes) => {
  const registry = { domain: "omi-registry.test", databaseFile: "registry.db", keys: [key] };
  const result = processConfigSchema.safeParse({ mesh: { development: true }, server: { port: 7100 }, registry });
  expect(result.error?.issues.map(({ path }) => path.join(".")) ?? []).toEqual(mistakes);
});

function configOf(server: object) {
  return processConfigSchema.safeParse({
    mesh: { development: true },
    server: { port: 7100, ...server },
    registry: { domain: "omi-registry.test", databaseFile: "registry.db", keys: [{ file: "key.json" }] },
  });
}

test("no proxy is trusted unless it is listed", () => {
  expect(configOf({}).data?.server.trustedProxies).toEqual([]);
  expect(configOf({ trustedProxies: ["10.0.0.0/8", "::1"] }).data?.server.trustedProxies).toEqual([
    "10.0.0.0/8",
    "::1",
  ]);
});

test.each(["10.0.0.0/33", "proxy.internal", "all", ""])("%j is no proxy", (proxy) => {
  const paths = configOf({ trustedProxies: ["10.0.0.1", proxy] }).error?.issues.map(({ path }) => path.join("."));
  expect(paths).toEqual(["server.trustedProxies.1"]);
});

test("all mistakes are told at once, whatever else is wrong", () => {
  const entry = { domain: "auth.test", party: "PARTY_AUTH_PROVIDER", baseUrl: "https://elsewhere.test" };
  const mistaken = {
    mesh: { development: "no", directory: [entry, "auth.test"], hosts: { "*.test": 7100 } },
    server: { port: "7100" },
    events: { nats: { servers: [] } },
    authProvider: { domain: "auth.test", keyFile: "", baseUrl: "https://auth.other", databaseFile: "auth.db" },
    billing: { domain: "billing.test", baseUrl: "ftp://billing.test" },
    typo: true,
  };
  const paths = processConfigSchema.safeParse(mistaken).error?.issues.map(({ path }) => path.join("."));
  expect(new Set(paths)).toEqual(
    new Set([
      "mesh.development",
      "mesh.directory.0.base_url",
      "mesh.directory.1",
      "mesh.hosts.*.test",
      "server.port",
      "server.tls",
      "events.nats.servers",
      "events.nats.tls",
      "authProvider.keyFile",
      "authProvider.baseUrl",
      "billing.keyFile",
      "billing.baseUrl",
      "billing.databaseFile",
      "",
    ]),
  );
});

test.each([undefined, null, 7, [], {}, { mesh: null }, { mesh: [], server: null, events: 1, authProvider: "x" }])(
  "%j is refused",
  (config) => {
    expect(processConfigSchema.safeParse(config).success).toBe(false);
  },
);
