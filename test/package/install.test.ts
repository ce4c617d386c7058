import { execFileSync } from "node:child_process";
import { cpSync, readdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../support/files.ts";

test("the package installs in an empty folder, and its agent mounts on any Connect server", () => {
  execFileSync(process.execPath, [".ci/package.ts"], { stdio: "inherit" });
  const folder = temporaryFolder();
  execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: resolve("dist") });
  const [tarball] = readdirSync(folder);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "vendor", private: true, type: "module" }));
  execFileSync("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", `./${tarball}`], {
    cwd: folder,
    stdio: "inherit",
  });
  cpSync("test/package/vendor.mjs", join(folder, "vendor.mjs"));
  const output = execFileSync(process.execPath, ["vendor.mjs"], { cwd: folder, encoding: "utf8" });
  expect(JSON.parse(output)).toEqual({ reason: "FIELD_INVALID" });
});
