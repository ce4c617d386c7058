import { type DescField, type DescMessage, type JsonValue, type Message, ScalarType } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { type Statement, StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { toBase64Url, toHex } from "../core/bytes.ts";
import { keyIdOf } from "../statement/key-id.ts";

// Fields that hold Unix seconds. The contract names them so throughout.
const TIME = /^(?:time|timestamp|not_before|not_after)$|(?:_at|_time|_expiry|_not_after)$/;
const PUBLIC_KEY = /public_keys?$/;
const KEY_LENGTH = 32;

/** What a Statement inside a message is shown as. */
export type ShowStatement = (statement: Statement) => Promise<JsonValue>;

/** How a message is shown. */
export type ReadableOptions = {
  readonly showStatement: ShowStatement;
  /** True: fields that are empty are there too, so that a type always has the same members. False: they are left out. */
  readonly withEmpty: boolean;
};

/**
 * A message for people, as JSON under the names of the contract: times in ISO 8601 or null, public keys with their key IDs
 * or null, other bytes in hex.
 */
export async function readable(schema: DescMessage, message: Message, options: ReadableOptions): Promise<JsonValue> {
  return readableMessage(reflect(schema, message), options);
}

async function readableMessage(message: ReflectMessage, options: ReadableOptions): Promise<JsonValue> {
  if (message.desc.typeName === StatementSchema.typeName) return options.showStatement(message.message as Statement);
  const json: Record<string, JsonValue> = {};
  for (const field of message.fields) {
    const isSet = message.isSet(field);
    if (isSet || (options.withEmpty && field.message === undefined)) {
      json[field.name] = await readableField(field, message.get(field), options);
    } else if (options.withEmpty) json[field.name] = field.fieldKind === "list" ? [] : null;
  }
  return json;
}

async function readableField(field: DescField, value: unknown, options: ReadableOptions): Promise<JsonValue> {
  if (field.fieldKind !== "list") return readableValue(field, value, options);
  const items: JsonValue[] = [];
  for (const item of value as Iterable<unknown>) items.push(await readableValue(field, item, options));
  return items;
}

async function readableValue(field: DescField, value: unknown, options: ReadableOptions): Promise<JsonValue> {
  if (field.message !== undefined) return readableMessage(value as ReflectMessage, options);
  if (field.enum !== undefined) return field.enum.value[value as number]?.name ?? (value as number);
  if (field.scalar === ScalarType.BYTES) return readableBytes(field, value as Uint8Array);
  if (typeof value !== "bigint") return value as JsonValue;
  if (!TIME.test(field.name)) return readableNumber(value);
  return value === 0n ? null : isoTime(value);
}

function readableBytes(field: DescField, bytes: Uint8Array): JsonValue {
  if (!PUBLIC_KEY.test(field.name)) return toHex(bytes);
  if (bytes.length === 0) return null;
  return { key_id: bytes.length === KEY_LENGTH ? keyIdOf(bytes) : null, public_key: toBase64Url(bytes) };
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
