import { cpSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "vitest";
import { temporaryFolder } from "../support/files.ts";
import { run } from "./support/run.ts";
import { contract, expectVendorToWork } from "./support/vendor.ts";

const program = fileURLToPath(new URL("go", import.meta.url));
const buf = fileURLToPath(new URL("../../node_modules/.bin/buf", import.meta.url));

test("a vendor's program in Go: the vectors, and a service bound and read over gRPC and Connect", async () => {
  const cwd = temporaryFolder();
  cpSync(program, cwd, { recursive: true });
  const go = (args: readonly string[]) => run("go", args, { cwd, from: "Go 1.24 or newer" });
  await go(["mod", "download"]);
  await run(process.execPath, [buf, "generate", contract], { cwd });
  await go(["build", "-o", "vendor", "."]);
  await expectVendorToWork(cwd, (args) => run(join(cwd, "vendor"), args));
});
