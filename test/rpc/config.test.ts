import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import {
  besideConfig,
  ConfigError,
  type ConfigMistake,
  type ConfigSources,
  loadConfig,
} from "../../src/core/config.ts";
import { cleanUp } from "./support/start.ts";

const schema = z.strictObject({
  registry: z.strictObject({
    domain: z.string(),
    port: z.number().int().default(8080),
    baseUrl: z.string().optional(),
  }),
  hosts: z.record(z.string(), z.string()).default({}),
  level: z.enum(["info", "debug"]).default("info"),
});

function fileOf(content: string): string {
  const folder = mkdtempSync(join(tmpdir(), "config-"));
  cleanUp(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "omi.json"), content);
  return join(folder, "omi.json");
}

function load(content: unknown, env: ConfigSources["env"] = {}) {
  return loadConfig(schema, { file: fileOf(JSON.stringify(content)), env, prefix: "OMI_" });
}

function mistakesOf(run: () => unknown): readonly ConfigMistake[] {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error.mistakes;
    throw error;
  }
  return [];
}

test("the environment wins over the file, and defaults fill the rest", () => {
  const config = load(
    { registry: { domain: "a.test", port: 1 } },
    {
      OMI_REGISTRY__PORT: "2",
      OMI_REGISTRY__BASE_URL: "http://a.test",
      OMI_HOSTS: '{"*.test": "127.0.0.1:1"}',
      OTHER: "x",
    },
  );
  expect(config).toEqual({
    registry: { domain: "a.test", port: 2, baseUrl: "http://a.test" },
    hosts: { "*.test": "127.0.0.1:1" },
    level: "info",
  });
});

test("the environment alone is enough", () => {
  const env = { OMI_REGISTRY__DOMAIN: "a.test", OMI_LEVEL: '"debug"' };
  expect(loadConfig(schema, { env, prefix: "OMI_" })).toMatchObject({ registry: { domain: "a.test" }, level: "debug" });
});

test("a variable for an object comes before those for what is in it", () => {
  const env = { OMI_REGISTRY__PORT: "2", OMI_REGISTRY: '{"domain": "a.test", "port": 1}' };
  expect(loadConfig(schema, { env, prefix: "OMI_" }).registry).toEqual({ domain: "a.test", port: 2 });
});

test("all mistakes are listed at once, with where they come from, and never a value", () => {
  const content = { registry: { port: "secret-1", domian: "a.test" }, colour: "red" };
  const run = () => load(content, { OMI_LEVEL: "secret-2", OMI_REGISTRY__HOST: "x", OMI_LEVEL__DEEP: "x" });
  const mistakes = mistakesOf(run);
  const file = expect.stringMatching(/omi\.json$/);
  expect(mistakes.map(({ path, source }) => [path, source])).toEqual(
    expect.arrayContaining([
      ["registry.domain", undefined],
      ["registry.port", file],
      ["registry.domian", file],
      ["colour", file],
      ["level", "environment OMI_LEVEL"],
      ["level.deep", "environment OMI_LEVEL__DEEP"],
      ["registry.host", "environment OMI_REGISTRY__HOST"],
    ]),
  );
  expect(mistakes).toHaveLength(7);
  expect(run).toThrow(expect.objectContaining({ message: expect.not.stringContaining("secret") }));
  expect(run).toThrow(/registry\.port: .*number/);
});

test.each([
  ["is not there", "/nowhere/omi.json"],
  ["is no JSON", fileOf("{")],
  ["is no object", fileOf("[]")],
])("a file that %s is a mistake", (_, file) => {
  expect(mistakesOf(() => loadConfig(schema, { file, env: {}, prefix: "OMI_" }))).toMatchObject([
    { path: "", source: file },
  ]);
});

test("no variable reaches beyond the settings", () => {
  const env = { OMI_CONSTRUCTOR__PROTOTYPE: "1", OMI___PROTO____X: "1", OMI_REGISTRY__DOMAIN: "a.test" };
  expect(mistakesOf(() => loadConfig(schema, { env, prefix: "OMI_" }))).not.toHaveLength(0);
  expect(({} as Record<string, unknown>).x).toBeUndefined();
});

test("paths in a file are relative to its folder", () => {
  expect(besideConfig("/etc/omi/omi.json", "tls/cert.pem")).toBe("/etc/omi/tls/cert.pem");
  expect(besideConfig("/etc/omi/omi.json", "/var/cert.pem")).toBe("/var/cert.pem");
});
