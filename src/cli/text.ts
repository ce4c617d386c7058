import type { DescEnum, JsonValue } from "@bufbuild/protobuf";

/** JSON for people: one member a line, what is inside of it indented, and without what is empty. */
export function asText(json: JsonValue, indent = ""): string {
  if (Array.isArray(json)) return json.map((item) => `${indent}- ${asText(item, `${indent}  `).trimStart()}`).join("");
  if (typeof json !== "object" || json === null) return `${indent}${scalar(json)}\n`;
  return Object.entries(json)
    .filter(([, value]) => !isEmpty(value))
    .map(([name, value]) => {
      if (typeof value !== "object" || value === null) return `${indent}${name}: ${scalar(value)}\n`;
      return `${indent}${name}:\n${asText(value, `${indent}  `)}`;
    })
    .join("");
}

/** Rows below a heading, in columns. */
export function asTable(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [heading, ...rows].map((row) => row.map(printable));
  const widths = heading.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? "").length)));
  return lines
    .map(
      (line) =>
        `${line
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}

// Control, format (direction marks among them), surrogate and private-use characters, and line separators.
const ACTIVE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** Text from another party, without what could make a terminal do things. */
export function printable(text: string): string {
  return text.replace(ACTIVE, "\u{FFFD}");
}

/** JSON in which what could make a terminal do things is escaped, so that who parses it reads the same. */
export function printableJson(json: unknown, indent?: number): string {
  // Only the line breaks of the indentation are there as they are.
  return JSON.stringify(json, undefined, indent).replace(ACTIVE, (found) => (found === "\n" ? found : escaped(found)));
}

function escaped(character: string): string {
  const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
}

/** The name of an enum's value without the enum's own: `ACTIVE` of `SERVICE_STATUS_ACTIVE`; its number if it has none. */
export function enumName(desc: DescEnum, value: number): string {
  return desc.value[value]?.localName ?? String(value);
}

function scalar(value: string | number | boolean | null): string {
  return typeof value === "string" ? printable(value) : String(value);
}

function isEmpty(value: JsonValue): boolean {
  return value === null || value === "" || (typeof value === "object" && Object.keys(value).length === 0);
}
