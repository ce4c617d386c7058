import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { prepareMesh } from "../../src/operator/mesh.ts";
import { holdAlone } from "../../src/store/alone.ts";
import { omi } from "../cli/support.ts";
import { temporaryFolder } from "../support/files.ts";
import { testBytes } from "../support/keys.ts";

test("a mesh whose ports are in use is not started, and its files are left alone", async () => {
  const server = createServer();
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const data = join(temporaryFolder(), "data");

  const { code, stdout } = await omi(["start", "--data", data, "--port", String(port - 1)]);

  expect([code, stdout]).toEqual([2, ""]);
  expect(existsSync(data)).toBe(false);
});

test("a mesh with a part that can't start says which one, where its log is, and its last error", async () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, "billing"));
  const logFile = join(folder, "billing", "log.jsonl");
  writeFileSync(logFile, "error: of an earlier start\n");
  writeFileSync(join(folder, "billing", "billing.db"), "no database".repeat(1000));

  const { code, stdout, stderr } = await omi(["start", "--data", folder, "--port", "20721", "--json"]);

  expect([code, stdout]).toEqual([70, ""]);
  const { error } = JSON.parse(stderr);
  expect(error.message).toMatch(/^billing /);
  expect(error.message).toContain("not a database");
  expect(error.message).not.toContain("earlier start");
  expect(error.message).not.toMatch(/^ +at /m);
  expect(error.next_step).toContain(logFile);
});

test("a part whose port is in use says so, with 2", async () => {
  const server = createServer();
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const folder = temporaryFolder();
  const { members } = prepareMesh(folder, { ports: [port, 1, 2, 3, 4], random: testBytes });

  const { code, stderr } = await omi(["serve", members[0]?.configFile ?? ""]);

  expect(code).toBe(2);
  expect(stderr).toContain(String(port));
});

test.each([
  ["a mesh", (folder: string) => ["start", "--data", folder, "--port", "20711"], "mesh"],
  ["a rebuild", (folder: string) => ["registry", "rebuild", "--database", join(folder, "registry.db")], "registry.db"],
])("%s is refused on files that another process holds", async (_, command, file) => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, file), "");
  const release = holdAlone(join(folder, file));
  onTestFinished(() => release?.());

  const { code, stdout } = await omi(command(folder));

  expect([code, stdout]).toEqual([2, ""]);
  expect(readdirSync(folder).sort()).toEqual([file, `${file}.lock`]);
});
