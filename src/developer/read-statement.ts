import { create, fromBinary, fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { type Statement, StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { fromBase64Url, fromHex } from "../core/bytes.ts";
import { Reason, Refusal } from "../core/refusal.ts";

/** The greatest input, in bytes: a Statement in any of the forms, with room for what is around it. */
const MAX_INPUT_BYTES = 1024 * 1024;

const SIGNATURE_HEX = /^[0-9a-f]{128}$/;

/**
 * Reads a Statement in any form in which people come across one: the binary message, its hex or base64 text, its JSON form,
 * the JSON of an RPC's request or response that has one, or a test vector, which writes bytes in hex.
 *
 * @throws Refusal TOO_LARGE or MALFORMED
 */
export function readStatement(input: Uint8Array | string): Statement {
  if (input.length > MAX_INPUT_BYTES) {
    throw new Refusal(Reason.TOO_LARGE, "the input is too large for a Statement", {
      metadata: { field: "statement", limit: String(MAX_INPUT_BYTES) },
    });
  }
  const text = typeof input === "string" ? input.trim() : textOf(input);
  const statement = text === undefined ? fromBytes(input as Uint8Array) : fromText(text);
  if (statement === undefined || statement.type === "") {
    throw new Refusal(Reason.MALFORMED, "the input is neither a file that exists nor a Statement", {
      metadata: { field: "statement" },
      nextStep: "Check the file's name, or give the Statement itself: hex, base64 or JSON.",
    });
  }
  return statement;
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes).trim();
    return /^(?:\{|[0-9A-Za-z+/_-]+=*$)/.test(text) ? text : undefined;
  } catch {
    return undefined;
  }
}

function fromText(text: string): Statement | undefined {
  if (text.startsWith("{")) return fromJsonText(text);
  const hex = fromHex(text.toLowerCase());
  const fromHexText = hex && fromBytes(hex);
  if (fromHexText !== undefined) return fromHexText;
  const bytes = fromBase64Url(text.replace(/=+$/, "").replaceAll("+", "-").replaceAll("/", "_"));
  return bytes && fromBytes(bytes);
}

function fromBytes(bytes: Uint8Array): Statement | undefined {
  try {
    return fromBinary(StatementSchema, bytes);
  } catch {
    return undefined;
  }
}

function fromJsonText(text: string): Statement | undefined {
  try {
    const found = findStatement(JSON.parse(text));
    if (found === undefined) return undefined;
    const isVector = "signing_input" in found || SIGNATURE_HEX.test(String(found.signature));
    return isVector ? fromVector(found) : fromProtoJson(found);
  } catch {
    return undefined;
  }
}

/** The first object, from the outside in, that has the members of a Statement. */
function findStatement(json: JsonValue): JsonObject | undefined {
  if (typeof json !== "object" || json === null) return undefined;
  if (!Array.isArray(json) && typeof json.type === "string" && typeof json.data === "string") return json;
  for (const value of Object.values(json)) {
    const found = findStatement(value);
    if (found !== undefined) return found;
  }
  return undefined;
}

function fromProtoJson({ version = "", type = "", data = "", signature = "" }: JsonObject): Statement {
  return fromJson(StatementSchema, { version, type, data, signature });
}

function fromVector({ version, type, data, signature }: JsonObject): Statement | undefined {
  const [dataBytes, signatureBytes] = [fromHex(String(data)), fromHex(String(signature))];
  if (dataBytes === undefined || signatureBytes === undefined) return undefined;
  return create(StatementSchema, {
    version: String(version),
    type: String(type),
    data: dataBytes,
    signature: signatureBytes,
  });
}
