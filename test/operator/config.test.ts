import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { processConfigSchema } from "../../src/operator/config.ts";

test("the configurations in the documentation are right", () => {
  const text = readFileSync(new URL("../../docs/operations.md", import.meta.url), "utf8");
  const blocks = [...text.matchAll(/```json\n(.*?)```/gs)].map(([, json = ""]) => JSON.parse(json));
  expect(blocks).toHaveLength(2);
  for (const block of blocks) expect(processConfigSchema.safeParse(block).error?.issues).toBeUndefined();
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
