import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "vitest";
import { temporaryFolder } from "../support/files.ts";
import { run } from "./support/run.ts";
import { contract, expectVendorToWork } from "./support/vendor.ts";

const program = fileURLToPath(new URL("python", import.meta.url));

test("a vendor's program in Python: the vectors, and a service bound and read over gRPC", async () => {
  const folder = temporaryFolder();
  const generated = join(folder, "generated");
  mkdirSync(generated);
  await run("python3", ["-m", "venv", join(folder, "venv")], { from: "Python 3.10 or newer with its module venv" });
  const python = (args: readonly string[]) =>
    run(join(folder, "venv/bin/python"), args, {
      env: { OMI_GENERATED: generated, PYTHONDONTWRITEBYTECODE: "1", PIP_DISABLE_PIP_VERSION_CHECK: "1" },
    });
  // Wheels alone: a package that has none for this machine is named at once instead of being compiled.
  await python(["-m", "pip", "install", "--quiet", "--only-binary", ":all:", "-r", join(program, "requirements.txt")]);
  const files = readdirSync(contract, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".proto"));
  await python(["-m", "grpc_tools.protoc", "-I", contract, `--python_out=${generated}`, ...files]);
  await expectVendorToWork(folder, (args) => python([join(program, "main.py"), ...args]));
});
