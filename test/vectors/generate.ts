/**
 * Writes the vector files: `npx node test/vectors/generate.ts`. Everything follows from fixed seeds, so a second run
 * changes nothing. A file that no generator makes any more is removed from the `valid` and `invalid` folders.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { canonicalVectors } from "./generator/canonical.ts";
import { ed25519Vectors } from "./generator/ed25519.ts";
import { outOfBoundsVectors } from "./generator/statement-bounds.ts";
import { invalidStatementVectors } from "./generator/statement-invalid.ts";
import { validStatementVectors } from "./generator/statement-valid.ts";
import { formatJson } from "./generator/vector.ts";

/** The folder of the vectors. */
export const VECTORS = dirname(fileURLToPath(import.meta.url));

/** The folders, below {@link VECTORS}, that hold generated files and nothing else. */
export const FOLDERS = ["canonical", "ed25519", "statement"].flatMap((room) => [`${room}/valid`, `${room}/invalid`]);

/** Every generated file by its path below {@link VECTORS}. */
export function generateFiles(): Map<string, string> {
  const files = new Map<string, string>();
  const vectors = [
    ...canonicalVectors(),
    ...ed25519Vectors(),
    ...validStatementVectors(),
    ...invalidStatementVectors(),
    ...outOfBoundsVectors(),
  ];
  for (const { path, content } of vectors) {
    if (files.has(path)) throw new Error(`two vectors are named ${path}`);
    files.set(path, `${formatJson(content)}\n`);
  }
  return files;
}

function writeFiles(): void {
  const files = generateFiles();
  for (const folder of FOLDERS) {
    mkdirSync(join(VECTORS, folder), { recursive: true });
    for (const name of readdirSync(join(VECTORS, folder))) {
      if (!files.has(`${folder}/${name}`)) rmSync(join(VECTORS, folder, name));
    }
  }
  for (const [path, text] of files) writeFileSync(join(VECTORS, path), text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFiles();
