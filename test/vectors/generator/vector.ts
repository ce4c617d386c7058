import { toHex, utf8 } from "../../../src/core/bytes.ts";
import type { SigningKey } from "../../../src/statement/crypto.ts";
import { createSigningKey, sha256 } from "../../../src/statement/crypto.ts";

/** A vector file: where it lies below `test/vectors`, and what is in it. */
export type VectorFile = { readonly path: string; readonly content: JsonObject };

export type JsonObject = { readonly [name: string]: JsonData };
export type JsonData = string | number | boolean | null | readonly JsonData[] | JsonObject;

/** A valid vector; the file is named after it. */
export function valid(room: string, name: string, content: JsonObject): VectorFile {
  return { path: `${room}/valid/${name}.json`, content };
}

/** An invalid vector; the file is named after it. */
export function invalid(room: string, name: string, content: JsonObject): VectorFile {
  return { path: `${room}/invalid/${name}.json`, content };
}

/** The secret seed of the key that the vectors call `name`. */
export function seedOf(name: string): Uint8Array {
  return sha256(utf8(`omi test vectors: key ${name}`));
}

/** The key that the vectors call `name`. */
export function keyOf(name: string): SigningKey {
  return createSigningKey(seedOf(name));
}

/** 16 bytes that are the same in every run. */
export function nonceOf(name: string): Uint8Array {
  return sha256(utf8(`omi test vectors: nonce ${name}`)).slice(0, 16);
}

/** Members whose value is bytes, as lower-case hex. */
export function hexMembers(members: Readonly<Record<string, Uint8Array>>): Record<string, string> {
  return Object.fromEntries(Object.entries(members).map(([name, bytes]) => [name, toHex(bytes)]));
}

/**
 * JSON text as the project's formatter writes it, so that generated files need no formatting: lists of plain values on one
 * line where they fit, everything else spread.
 */
export function formatJson(data: JsonData, indent = "", before = 0): string {
  if (data === null || typeof data !== "object") return JSON.stringify(data);
  const inner = `${indent}  `;
  if (Array.isArray(data)) {
    if (data.every((item) => item === null || typeof item !== "object")) {
      const line = `[${data.map((item) => JSON.stringify(item)).join(", ")}]`;
      if (indent.length + before + line.length <= LINE_WIDTH) return line;
    }
    return `[\n${data.map((item) => inner + formatJson(item, inner)).join(",\n")}\n${indent}]`;
  }
  const members = Object.entries(data).map(([name, value]) => {
    const label = `${JSON.stringify(name)}: `;
    return `${inner}${label}${formatJson(value, inner, label.length)}`;
  });
  return members.length === 0 ? "{}" : `{\n${members.join(",\n")}\n${indent}}`;
}

// One less than the formatter's, for the comma that may follow.
const LINE_WIDTH = 119;
