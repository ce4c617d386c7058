import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { billingMigrations } from "../../src/billing/migrations.ts";
import { prepareMesh } from "../../src/operator/mesh.ts";
import { portsInUse } from "../../src/operator/processes.ts";
import { holdAlone } from "../../src/store/alone.ts";
import { openDatabase } from "../../src/store/database.ts";
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

  expect([code, stdout]).toEqual([2, ""]);
  const { error } = JSON.parse(stderr);
  expect(error.message).toMatch(/^billing /);
  expect(error.message).toContain("not a database");
  expect(error.message).not.toContain("earlier start");
  expect(error.message).not.toMatch(/^ +at /m);
  expect(error.next_step).toContain(logFile);
});

test("a mesh that is told to stop while it starts stops what it has started", async () => {
  const data = join(temporaryFolder(), "data");
  const launcher = new URL("../../src/omi.js", import.meta.url).pathname;
  const args = [launcher, "start", "--data", data, "--port", "20731"];
  const mesh = spawn(process.execPath, args, { stdio: "ignore" });
  onTestFinished(() => void mesh.kill("SIGKILL"));
  const exit = once(mesh, "exit");
  await expect.poll(() => existsSync(join(data, "billing", "log.jsonl")), { timeout: 20_000 }).toBe(true);

  mesh.kill("SIGTERM");

  expect(await exit).toEqual([0, null]);
  expect(await portsInUse([20731, 20732, 20733, 20734, 20735])).toEqual([]);
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

test("a part in development may have plain http though the directory doesn't name it", async () => {
  const server = createServer();
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const { members } = prepareMesh(temporaryFolder(), { ports: [1, 2, port, 3, 4], random: testBytes });
  const env = { OMI_SERVE_MESH__DIRECTORY: "[]" };

  const { code, stderr } = await omi(["serve", members[2]?.configFile ?? ""], { env });

  // It gets as far as the port, which is in use.
  expect(code).toBe(2);
  expect(stderr).toContain(String(port));
});

test.each<[what: string, prepare: (database: string) => void, expected: string]>([
  ["in a folder that is not there", () => {}, "ENOENT"],
  ["that is a folder", (database) => mkdirSync(database, { recursive: true }), "EISDIR"],
  ["that is none", (database) => writeWithFolder(database, "no database".repeat(1000)), "not a database"],
  ["of a newer version", (database) => writeNewer(database), "newer version"],
])("a part with a database file %s says so, with 2 and what to do", async (_, prepare, expected) => {
  const folder = temporaryFolder();
  const { members } = prepareMesh(folder, { ports: [1, 2, 3, 4, 5], random: testBytes });
  const database = join(folder, "elsewhere", "registry.db");
  prepare(database);
  const env = { OMI_SERVE_REGISTRY__DATABASE_FILE: database };

  const { code, stderr } = await omi(["serve", members[0]?.configFile ?? "", "--json"], { env });

  expect(code).toBe(2);
  const { error } = JSON.parse(stderr);
  expect(error.message).toContain(database);
  expect(error.message).toContain(expected);
  expect(error.message).not.toMatch(/^ +at /m);
  expect(error.next_step).not.toBe("");
});

test("a part that can't go on with what its crash left unfinished ends, as a supervisor can't know otherwise", async () => {
  const folder = temporaryFolder();
  const { members } = prepareMesh(folder, { ports: [1, 2, 3, 4, 5], random: testBytes });
  const db = openDatabase(join(folder, "billing", "billing.db"), billingMigrations);
  db.exec("INSERT INTO accounts (app_id, service_id, opened_at) VALUES ('no AppID', 'articles', 1)");
  db.close();
  const env = { OMI_SERVE_SERVER__PORT: "0" };

  const { code, stdout, stderr } = await omi(["serve", members[4]?.configFile ?? ""], { env });

  expect(code).not.toBe(0);
  expect(stderr).toContain("app_id");
  const last = stdout.trim().split("\n").at(-1) ?? "";
  expect(JSON.parse(last)).toMatchObject({ msg: "stopped" });
});

function writeWithFolder(path: string, content: string): void {
  mkdirSync(dirname(path));
  writeFileSync(path, content);
}

function writeNewer(path: string): void {
  mkdirSync(dirname(path));
  openDatabase(
    path,
    Array.from({ length: 100 }, () => ""),
  ).close();
}

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
