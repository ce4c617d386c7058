/** How deeply objects and arrays may be nested. Claims need three levels. */
const MAX_DEPTH = 8;

const utf8Decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A parsed JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Parses the JSON object that a signature covers, so that every verifier reads the same from the same bytes: valid UTF-8,
 * no byte order mark, no member name twice in one object (RFC 7519 section 4 leaves the choice between refusing and taking
 * the last one; two verifiers that choose differently see two tokens), no member `__proto__`, at most 8 levels.
 *
 * @returns undefined for anything else
 */
export function parseUniqueJsonObject(bytes: Uint8Array): JsonObject | undefined {
  try {
    const text = utf8Decoder.decode(bytes);
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) && hasUniqueNames(text) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** True for a JSON object, false for arrays and null. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Walks a text that is known to be JSON. `JSON.parse` itself doesn't tell whether it dropped a member. */
function hasUniqueNames(text: string): boolean {
  // The names of every object that is open, undefined for an array.
  const open: (Set<string> | undefined)[] = [];
  let nameFollows = false;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case "{":
        open.push(new Set());
        nameFollows = true;
        break;
      case "[":
        open.push(undefined);
        nameFollows = false;
        break;
      case "}":
      case "]":
        open.pop();
        break;
      case ",":
        nameFollows = open.at(-1) !== undefined;
        break;
      case '"': {
        const end = endOfString(text, at);
        const names = open.at(-1);
        if (nameFollows && names !== undefined) {
          const name: unknown = JSON.parse(text.slice(at, end + 1));
          if (typeof name !== "string" || name === "__proto__" || names.has(name)) return false;
          names.add(name);
          nameFollows = false;
        }
        at = end;
        break;
      }
    }
    if (open.length > MAX_DEPTH) return false;
  }
  return true;
}

/** The index of the quote that ends the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at;
}
