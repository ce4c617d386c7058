import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { createRegistry, type DescFile } from "@bufbuild/protobuf";

const GEN = join(dirname(fileURLToPath(import.meta.url)), "../../gen/omi");

/** Every type of the contract, found by reading the generated folder whole. */
export const contract = createRegistry(...(await generatedFiles()));

async function generatedFiles(): Promise<DescFile[]> {
  const paths = readdirSync(GEN, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith("_pb.ts"));
  const modules = await Promise.all(paths.map((path) => import(pathToFileURL(join(GEN, path)).href)));
  return modules.flatMap((module) => Object.values(module).filter(isFile));
}

function isFile(value: unknown): value is DescFile {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "file";
}
