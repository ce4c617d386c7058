import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { fromHex, toBase64Url } from "../../src/core/bytes.ts";
import { present } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { omi } from "./support.ts";

const vectors = new URL("../vectors/statement/", import.meta.url);

test("the launcher runs the program, which shows its commands and exit codes", async () => {
  const { code, stdout } = await omi(["--help"]);
  expect(code).toBe(0);
  for (const word of [
    "keygen",
    "namespace",
    "app",
    "backbone",
    "auth",
    "service",
    "resolve",
    "watch",
    "log",
    "Exit codes",
  ]) {
    expect(stdout).toContain(word);
  }
});

test.each([[["frobnicate"]], [["keygen"]], [["app", "show"]], [["service", "provision", "x", "--storage-gb", "much"]]])(
  "%j is wrong usage",
  async (args) => {
    const { code, stdout, stderr } = await omi(args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).not.toBe("");
  },
);

describe("keygen", () => {
  test("makes a file that only its owner can read, and prints the public half alone", async () => {
    const path = join(temporaryFolder(), "master.json");
    const { code, stdout, stderr } = await omi(["keygen", "--out", path, "--json"]);
    expect(code).toBe(0);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const file = JSON.parse(readFileSync(path, "utf8"));
    expect(JSON.parse(stdout)).toEqual({
      role: "master",
      file: path,
      key_id: file.key_id,
      public_key: file.public_key,
    });
    expect(stdout + stderr).not.toContain(file.seed);
  });

  test("does not overwrite", async () => {
    const path = join(temporaryFolder(), "master.json");
    writeFileSync(path, "precious");
    expect((await omi(["keygen", "--out", path])).code).toBe(2);
    expect(readFileSync(path, "utf8")).toBe("precious");
  });
});

describe("inspect", () => {
  const file = (name: string) => new URL(name, vectors).pathname;
  const publicKeyOf = (path: string) =>
    toBase64Url(present(fromHex(JSON.parse(readFileSync(path, "utf8")).public_key)));

  test("shows a valid vector, from a file and from standard input", async () => {
    const path = file("valid/service_binding.json");
    const args = ["--offline", "--public-key", publicKeyOf(path), "--json"];
    const fromFile = await omi(["inspect", path, ...args]);
    expect(fromFile.code).toBe(0);
    const found = JSON.parse(fromFile.stdout);
    expect(found).toMatchObject({
      type: "omi.registry.v1.ServiceBinding",
      form: { status: "valid" },
      signature: { status: "valid", key_from: "given" },
      message: { developer_proof: { type: "omi.agent.v1.ProvisionService" } },
    });
    const fromStdin = await omi(["inspect", "-", ...args], { stdin: readFileSync(path, "utf8") });
    expect(fromStdin).toEqual(fromFile);
  });

  test.each([
    "signature_flipped_bit.json",
    "field_out_of_order.json",
    "unknown_field.json",
    "nested_type_mismatch.json",
    "key_neutral.json",
  ])("ends with 4 for the invalid vector %s", async (name) => {
    const path = file(`invalid/${name}`);
    const { code, stdout } = await omi(["inspect", path, "--offline", "--public-key", publicKeyOf(path)]);
    expect(code).toBe(4);
    expect(JSON.parse(stdout)).toHaveProperty("statement_id");
  });

  test("ends with 4 if another key was expected", async () => {
    const { public_key: other } = JSON.parse(readFileSync(file("valid/suspend.json"), "utf8"));
    const path = file("valid/service_binding.json");
    const args = ["inspect", path, "--offline", "--public-key", toBase64Url(present(fromHex(other)))];
    expect((await omi(args)).code).toBe(4);
  });

  test("ends with 2 for what is no Statement", async () => {
    expect((await omi(["inspect", "nonsense", "--offline"])).code).toBe(2);
  });

  test("has vectors to look at", () => {
    expect(readdirSync(file("valid/")).length).toBeGreaterThan(10);
  });
});

test("an unreachable registry ends with 3, a wrong configuration with 2", async () => {
  const folder = temporaryFolder();
  const config = join(folder, "omi.json");
  const directory = [{ domain: "gone.test", party: "PARTY_REGISTRY", baseUrl: "http://gone.test" }];
  writeFileSync(config, JSON.stringify({ development: true, directory, hosts: { "gone.test": "127.0.0.1:1" } }));
  const gone = await omi(["resolve", "registry", "--config", config, "--json"]);
  expect([gone.code, gone.stdout]).toEqual([3, ""]);
  expect(JSON.parse(gone.stderr)).toMatchObject({
    error: { reason: "REGISTRY_UNAVAILABLE", metadata: { registry: "gone.test" } },
  });
  writeFileSync(config, JSON.stringify({ devlopment: true }));
  expect((await omi(["resolve", "registry", "--config", config])).code).toBe(2);
  expect((await omi(["resolve", "registry", "--config", join(folder, "missing.json")])).code).toBe(2);
});
