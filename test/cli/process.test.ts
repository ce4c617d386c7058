import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../support/files.ts";
import { omi } from "./support.ts";

test("the launcher runs the program, which shows its commands and exit codes", async () => {
  const { code, stdout } = await omi(["--help"]);
  expect(code).toBe(0);
  for (const word of ["keygen", "namespace", "app", "backbone", "auth", "service", "watch", "log", "Exit codes"]) {
    expect(stdout).toContain(word);
  }
});

test("keygen makes a file that only its owner can read, and prints the public half alone", async () => {
  const path = join(temporaryFolder(), "master.json");
  const { code, stdout, stderr } = await omi(["keygen", "--out", path, "--json"]);
  expect(code).toBe(0);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const { seed, key_id, public_key } = JSON.parse(readFileSync(path, "utf8"));
  expect(JSON.parse(stdout)).toEqual({ role: "master", file: path, key_id, public_key });
  expect(stdout + stderr).not.toContain(seed);
});

test("a key that can't be written ends keygen with 2, and leaves nothing that would be in the way later", async () => {
  const path = join(temporaryFolder(), "master.json");
  const { code, stderr } = await omi(["keygen", "--out", path], { diskIsFull: true });
  expect([code, stderr]).toEqual([2, expect.stringContaining("can't be written")]);
  expect(existsSync(path)).toBe(false);
});

test.each([[["--help"]], [["keygen", "--json"]]])(
  "a result that can't be written ends %j with 70 and a message",
  async (args) => {
    const out = args.includes("keygen") ? ["--out", join(temporaryFolder(), "master.json")] : [];
    const { code, stderr } = await omi([...args, ...out], { stdoutTo: "/dev/full" });
    expect(code).toBe(70);
    expect(stderr).toContain("ENOSPC");
    expect(stderr).not.toMatch(/^ +at /m);
  },
);

test("a reader that has seen enough ends a command quietly", async () => {
  const { code, stderr } = await omi(["--help"], { closeStdout: true });
  expect([code, stderr]).toEqual([0, ""]);
});

test("a Statement from standard input that does not verify ends with 4", async () => {
  const vector = new URL("../vectors/statement/invalid/field_out_of_order.json", import.meta.url);
  const config = join(temporaryFolder(), "omi.json");
  writeFileSync(config, "{}");
  const args = ["inspect", "-", "--offline", "--config", config];
  const { code, stdout } = await omi(args, { stdin: readFileSync(vector, "utf8") });
  expect(code).toBe(4);
  expect(JSON.parse(stdout)).toMatchObject({ form: { status: "invalid", fault: { reason: "NOT_CANONICAL" } } });
});

test("an unreachable registry ends with 3", async () => {
  const config = join(temporaryFolder(), "omi.json");
  const directory = [{ domain: "gone.test", party: "PARTY_REGISTRY", baseUrl: "http://gone.test" }];
  writeFileSync(config, JSON.stringify({ development: true, directory, hosts: { "gone.test": "127.0.0.1:1" } }));
  const { code, stdout, stderr } = await omi(["resolve", "registry", "--config", config, "--json"]);
  expect([code, stdout]).toEqual([3, ""]);
  expect(JSON.parse(stderr)).toMatchObject({
    error: { reason: "REGISTRY_UNAVAILABLE", metadata: { registry: "gone.test" } },
  });
});
