/**
 * Generates the code of the contract into a temporary folder and compares it with `gen/`: a change of the contract is
 * committed together with what follows from it. Exits with 1 and names the files if they differ.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folder = mkdtempSync(join(tmpdir(), "omi-gen-"));
try {
  execFileSync("buf", ["generate", "-o", folder], { stdio: "inherit" });
  const different = compare("gen", join(folder, "gen"));
  if (different.length > 0) {
    console.error(`gen/ is not what the contract generates: ${different.join(", ")}\nRun: npm run generate`);
    process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true });
}

function compare(committed: string, generated: string): string[] {
  const a = readFiles(committed);
  const b = readFiles(generated);
  return [...new Set([...a.keys(), ...b.keys()])].filter((name) => a.get(name) !== b.get(name)).sort();
}

function readFiles(root: string): Map<string, string> {
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter((file) => file.isFile());
  return new Map(
    files.map((file) => {
      const path = join(file.parentPath, file.name);
      return [path.slice(root.length), readFileSync(path, "utf8")];
    }),
  );
}
