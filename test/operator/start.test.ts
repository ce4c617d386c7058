import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
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
