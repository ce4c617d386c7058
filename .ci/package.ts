/**
 * Makes the package that vendors install, in `dist/`: built JavaScript with types (Node runs no TypeScript below
 * `node_modules`), the contract, and a package.json that points at them.
 */
import { execFileSync } from "node:child_process";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";

rmSync("dist", { recursive: true, force: true });
execFileSync("tsc", ["-p", "tsconfig.build.json"], { stdio: "inherit" });
cpSync("proto", "dist/proto", { recursive: true });
writeFileSync("dist/src/omi.js", readFileSync("src/omi.js", "utf8").replace("./main.ts", "./main.js"), { mode: 0o755 });
for (const file of ["LICENSE", "README.md", "CHANGELOG.md"]) cpSync(file, `dist/${file}`);

const { name, version, description, type, license, imports, dependencies } = JSON.parse(
  readFileSync("package.json", "utf8"),
);
const built = (path: string) => path.replace(/\.ts$/, ".js");
const manifest = {
  name,
  version,
  description,
  type,
  license,
  engines: { node: ">=24" },
  bin: { omi: "src/omi.js" },
  imports: Object.fromEntries(
    Object.entries(imports as Record<string, Record<string, string>>).map(([key, conditions]) => [
      key,
      Object.fromEntries(Object.entries(conditions).map(([condition, path]) => [condition, built(path)])),
    ]),
  ),
  exports: {
    "./agent": { types: "./src/agent/index.d.ts", default: "./src/agent/index.js" },
    "./developer": { types: "./src/developer/developer.d.ts", default: "./src/developer/developer.js" },
    "./statement": { types: "./src/statement/statement.d.ts", default: "./src/statement/statement.js" },
    "./gen/*": { types: "./gen/*.d.ts", default: "./gen/*.js" },
    "./proto/*": "./proto/*",
  },
  dependencies,
};
writeFileSync("dist/package.json", `${JSON.stringify(manifest, undefined, 2)}\n`);
