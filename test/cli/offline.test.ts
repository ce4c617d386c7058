import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { describe, expect, test } from "vitest";
import { UsageError } from "../../src/cli/exit-code.ts";
import { Output } from "../../src/cli/output.ts";
import { createProgram } from "../../src/cli/program.ts";
import { STDIN } from "../../src/cli/read-bounded.ts";
import { readSecret } from "../../src/cli/secrets.ts";
import { fromHex, toBase64Url } from "../../src/core/bytes.ts";
import { FakeClock } from "../support/clock.ts";
import { present } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testBytes } from "../support/keys.ts";
import { chunks, runHere } from "./support.ts";

/** An environment that names a configuration in which nothing is preset. */
function emptyConfig(): Record<string, string> {
  const file = join(temporaryFolder(), "omi.json");
  writeFileSync(file, "{}");
  return { OMI_CONFIG: file };
}

test.each([
  [[]],
  [["frobnicate"]],
  [["app"]],
  [["keygen"]],
  [["keygen", "--role", "king", "--out", "x"]],
  [["app", "show"]],
  [["service", "provision", "x", "--provider", "y", "--type", "z", "--storage-gb", "much"]],
  [["backbone", "set", "x", "--service", "billing"]],
  [["log", "--after", "-1"]],
  [["inspect", "nonsense", "--offline"]],
])("%j is wrong usage", async (args) => {
  const { code, stdout, stderr } = await runHere(args, { env: emptyConfig() });
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).not.toBe("");

  const forMachines = await runHere([...args, "--json"], { env: emptyConfig() });
  expect([forMachines.code, forMachines.stdout]).toEqual([2, ""]);
  expect(JSON.parse(forMachines.stderr)).toMatchObject({ error: { message: expect.stringMatching(/^(?!error:)./) } });
});

test.each([
  ["--limit", ["log", "--limit", "0"]],
  ["--limit", ["watch", "--limit", "0"]],
  // To the provider 0 is the registry's default: minutes in which a key counts that should have stopped.
  ["--grace", ["rotate", "test.a.alice.shop.725e77", "y", "--grace", "0"]],
  ["--immediate", ["rotate", "test.a.alice.shop.725e77", "y", "--grace", "60", "--immediate"]],
  ["--param", ["service", "provision", "x", "--provider", "y", "--type", "z", "--param", "a=1", "--param", "a=2"]],
])("%s is not what it seems in %j, so that is wrong usage", async (option, args) => {
  const { code, stderr } = await runHere(args, { env: emptyConfig() });
  expect(code).toBe(2);
  expect(stderr).toContain(option);
});

test("keygen does not overwrite", async () => {
  const path = join(temporaryFolder(), "master.json");
  writeFileSync(path, "precious");
  expect((await runHere(["keygen", "--out", path])).code).toBe(2);
  expect(readFileSync(path, "utf8")).toBe("precious");
});

test.each<[string, string | undefined]>([
  ["that is missing", undefined],
  ["that is no JSON", "{"],
  ["with an unknown setting", '{"devlopment": true}'],
  ["with a wrong hosts table", '{"hosts": {"a.test": "nowhere"}}'],
])("a configuration %s is wrong usage", async (_, text) => {
  const config = join(temporaryFolder(), "omi.json");
  if (text !== undefined) writeFileSync(config, text);
  expect((await runHere(["resolve", "registry", "--registry", "a.test", "--config", config])).code).toBe(2);
});

test("a password that is not UTF-8 is wrong usage: two in Latin-1 would count as one", async () => {
  const path = join(temporaryFolder(), "password.txt");
  writeFileSync(path, Buffer.from("correct horse batt\xe9ry", "latin1"));
  const signUp = ["token", "sign-up", "test.a.alice.shop.725e77", "--user", "bob"];

  const fromFile = await runHere([...signUp, "--password-file", path], { env: emptyConfig() });
  expect([fromFile.code, fromFile.stdout]).toEqual([2, ""]);
  expect(fromFile.stderr).toContain("UTF-8");

  // What Node makes of such a variable.
  const variable = await runHere(signUp, { env: { ...emptyConfig(), OMI_PASSWORD: "correct horse batt\u{FFFD}ry" } });
  expect([variable.code, variable.stdout]).toEqual([2, ""]);
});

test("a secret is the same from a file and from standard input, whatever editor wrote it", async () => {
  const path = join(temporaryFolder(), "secret.txt");
  writeFileSync(path, "\u{FEFF}grüße\r\n");
  const source = { variable: "OMI_PASSWORD", option: "--password-file" };
  const deps = { env: {}, stdin: () => chunks(readFileSync(path)) };

  expect(await readSecret(deps, path, source)).toBe("grüße");
  expect(await readSecret(deps, STDIN, source)).toBe("grüße");
});

test("a secret of more than 64 KiB is wrong usage, and no more of it is read", async () => {
  const path = join(temporaryFolder(), "secret.txt");
  const secret = "x".repeat(65_536);
  const source = { variable: "OMI_PASSWORD", option: "--password-file" };
  async function* endless() {
    for (;;) yield Buffer.from(secret);
  }
  const read = (file: string, stdin: () => AsyncIterable<Uint8Array>) => readSecret({ env: {}, stdin }, file, source);

  writeFileSync(path, secret);
  expect(await read(path, () => chunks())).toBe(secret);
  writeFileSync(path, `${secret}x`);
  await expect(read(path, () => chunks())).rejects.toThrow(new UsageError(`${path} is longer than 65536 bytes`));
  await expect(read(STDIN, endless)).rejects.toThrow(new UsageError("the standard input is longer than 65536 bytes"));
});

describe("inspect", () => {
  const file = (name: string) => new URL(`../vectors/statement/${name}`, import.meta.url).pathname;
  const publicKeyOf = (path: string) =>
    toBase64Url(present(fromHex(JSON.parse(readFileSync(path, "utf8")).public_key)));
  const run = (args: readonly string[], stdin = "") =>
    runHere(["inspect", ...args, "--offline"], { env: emptyConfig(), stdin });

  test("shows a valid vector, from a file and from standard input", async () => {
    const path = file("valid/service_binding.json");
    const key = ["--public-key", publicKeyOf(path)];
    const fromFile = await run([path, ...key]);
    expect(fromFile.code).toBe(0);
    expect(JSON.parse(fromFile.stdout)).toMatchObject({
      type: "omi.registry.v1.ServiceBinding",
      form: { status: "valid" },
      signature: { status: "valid", key_from: "given" },
      message: { developer_proof: { type: "omi.agent.v1.ProvisionService" } },
    });
    expect(await run(["-", ...key], readFileSync(path, "utf8"))).toEqual(fromFile);
  });

  test.each(["signature_flipped_bit.json", "unknown_field.json", "nested_type_mismatch.json", "key_neutral.json"])(
    "ends with 4 for the invalid vector %s",
    async (name) => {
      const path = file(`invalid/${name}`);
      expect((await run([path, "--public-key", publicKeyOf(path)])).code).toBe(4);
    },
  );

  test("ends with 4 if another key was expected", async () => {
    const other = publicKeyOf(file("valid/suspend.json"));
    expect((await run([file("valid/service_binding.json"), "--public-key", other])).code).toBe(4);
  });
});

describe("what others say can't make a terminal do things", () => {
  const hostile = "omi.\u{1B}[2J\u{9B}2J\u{202E}.Type";
  const active = /[^\P{C}\n]/u;

  test.each([[[]], [["--json"]]])("in an inspection, with %j", async (args) => {
    const statement = JSON.stringify({ type: hostile, data: "AA" });
    const { code, stdout } = await runHere(["inspect", statement, "--offline", ...args], { env: emptyConfig() });
    expect(code).toBe(4);
    expect(stdout).not.toMatch(active);
    expect(JSON.parse(stdout)).toMatchObject({ type: hostile });
  });

  test.each([false, true])("in lines of results, notes and errors, as JSON: %s", (json) => {
    let written = "";
    const write = (text: string) => {
      written += text;
    };
    const output = new Output({ stdout: write, stderr: write }, json);
    output.result({ name: hostile });
    output.item({ name: hostile }, hostile);
    output.note(hostile);
    output.error(new UsageError(hostile));
    expect(written).toContain("Type");
    expect(written).not.toMatch(active);
  });
});

test("every command has an example in its help", () => {
  const texts: string[] = [];
  const program = createProgram({
    env: {},
    stdout: (text) => texts.push(text),
    stderr: () => {},
    stdin: () => chunks(),
    clock: new FakeClock(),
    random: testBytes,
    onInterrupt: () => {},
    operator: (root) => void root.command("serve"),
  });
  const leaves = (command: Command): Command[] =>
    command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
  const all = leaves(program).filter((command) => command.name() !== "help");
  expect(all.map((command) => command.name())).toContain("serve");
  for (const command of all.filter((leaf) => leaf.name() !== "serve")) {
    texts.length = 0;
    command.outputHelp();
    expect(texts.join("")).toMatch(/Example:\n {2}\$ .*npx omi /);
  }
});
