import { type DescField, type DescMessage, type JsonValue, type Message, ScalarType } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { type Statement, StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { toBase64Url, toHex } from "../core/bytes.ts";
import { keyIdOf } from "../statement/key-id.ts";

// Fields that hold Unix seconds. The contract names them so throughout.
const TIME = /^(?:time|timestamp|not_before|not_after)$|(?:_at|_expiry|_not_after)$/;
const PUBLIC_KEY = /public_keys?$/;
const KEY_LENGTH = 32;

/** What a Statement inside a message is shown as. */
export type ShowStatement = (statement: Statement) => Promise<JsonValue>;

/**
 * A message for people, as JSON under the names of the contract: times in ISO 8601, public keys with their key IDs, other
 * bytes in hex. Fields that are empty are left out.
 */
export async function readable(schema: DescMessage, message: Message, show: ShowStatement): Promise<JsonValue> {
  return readableMessage(reflect(schema, message), show);
}

async function readableMessage(message: ReflectMessage, show: ShowStatement): Promise<JsonValue> {
  if (message.desc.typeName === StatementSchema.typeName) return show(message.message as Statement);
  const json: Record<string, JsonValue> = {};
  for (const field of message.fields) {
    if (message.isSet(field)) json[field.name] = await readableField(field, message.get(field), show);
  }
  return json;
}

async function readableField(field: DescField, value: unknown, show: ShowStatement): Promise<JsonValue> {
  if (field.fieldKind !== "list") return readableValue(field, value, show);
  const items: JsonValue[] = [];
  for (const item of value as Iterable<unknown>) items.push(await readableValue(field, item, show));
  return items;
}

async function readableValue(field: DescField, value: unknown, show: ShowStatement): Promise<JsonValue> {
  if (field.message !== undefined) return readableMessage(value as ReflectMessage, show);
  if (field.enum !== undefined) return field.enum.value[value as number]?.name ?? (value as number);
  if (field.scalar === ScalarType.BYTES) return readableBytes(field, value as Uint8Array);
  if (typeof value !== "bigint") return value as JsonValue;
  return TIME.test(field.name) ? isoTime(value) : readableNumber(value);
}

function readableBytes(field: DescField, bytes: Uint8Array): JsonValue {
  const isKey = PUBLIC_KEY.test(field.name) && bytes.length === KEY_LENGTH;
  return isKey ? { key_id: keyIdOf(bytes), public_key: toBase64Url(bytes) } : toHex(bytes);
}

/** A number where JSON readers agree on it, else its digits. */
function readableNumber(value: bigint): JsonValue {
  return BigInt(Number.MIN_SAFE_INTEGER) <= value && value <= BigInt(Number.MAX_SAFE_INTEGER)
    ? Number(value)
    : String(value);
}

// The last second that ISO 8601 writes with a year of four digits.
const LAST_TIME = 253_402_300_799n;

/** Unix seconds in ISO 8601; their digits if they are out of range. */
export function isoTime(seconds: bigint): string {
  if (seconds < 0n || seconds > LAST_TIME) return String(seconds);
  return new Date(Number(seconds) * 1000).toISOString().replace(".000Z", "Z");
}
