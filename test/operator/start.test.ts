import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { holdAlone } from "../../src/store/alone.ts";
import { omi } from "../cli/support.ts";
import { temporaryFolder } from "../support/files.ts";

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
