import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const ROOM = join(dirname(fileURLToPath(import.meta.url)), "../../src/statement");

test("the room runs where Node does not, but for the one file that is chosen for Node", () => {
  const files = portableFiles();
  expect(files.size).toBeGreaterThan(20);
  const tied = [...files].filter(([, text]) => /from "node:|\bBuffer\.|\bprocess\./.test(text)).map(([path]) => path);
  expect(tied).toEqual([]);
});

test("both implementations export the same names", async () => {
  const [node, portable] = [
    await import("../../src/statement/crypto-node.ts"),
    await import("../../src/statement/crypto-portable.ts"),
  ];
  expect(Object.keys(node).sort()).toEqual(Object.keys(portable).sort());
});

/** The text of every file of the room without crypto-node.ts, and of every file of ours that these import. */
function portableFiles(): Map<string, string> {
  const files = new Map<string, string>();
  const waiting = readdirSync(ROOM)
    .filter((name) => name !== "crypto-node.ts")
    .map((name) => join(ROOM, name));
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (files.has(path) || !existsSync(path)) continue;
    const text = readFileSync(path, "utf8");
    files.set(path, text);
    for (const [, relative = ""] of text.matchAll(/from "(\.[^"]+)"/g)) waiting.push(join(dirname(path), relative));
  }
  return files;
}
