import {
  type DescField,
  type DescMessage,
  fromBinary,
  type Message,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { equalBytes } from "../core/bytes.ts";
import { Reason } from "../core/refusal.ts";
import { type Breach, below, refuse, statementPath } from "./breach.ts";
import { profileProblem } from "./profile.ts";

/** The deterministic encoding of a message: what is signed. Unknown fields are left out. */
export function encodeCanonical<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): Uint8Array {
  messageFieldsOf(schema);
  return toBinary(schema, message, { writeUnknownFields: false });
}

/**
 * Decodes a message that must be in the deterministic encoding. The message's bytes fields are views into `data`.
 *
 * @param field the path of the Statement that holds the message, as in `OpenOptions`
 * @throws Refusal MALFORMED, UNKNOWN_FIELD (at any depth), or NOT_CANONICAL if encoding the message again gives other
 *   bytes
 */
export function decodeCanonical<Desc extends DescMessage>(
  schema: Desc,
  data: Uint8Array,
  field: string,
): MessageShape<Desc> {
  const message = decode(schema, data, field, true);
  const unknown = findUnknownField(schema, message);
  if (unknown !== undefined) throw refuse(field, unknown);
  // The library forgives fields out of order or doubled, zeros, long varints, wrong wire types and lengths; each of them
  // changes the bytes that it writes.
  if (!equalBytes(encodeCanonical(schema, message), data))
    throw refuse(statementPath(field), breachOf(Reason.NOT_CANONICAL));
  return message;
}

/**
 * Decodes a message without these demands and drops what this version of the contract does not know. The message's bytes
 * fields are views into `data`.
 *
 * @param field the path of the Statement that holds the message, as in `OpenOptions`
 * @throws Refusal MALFORMED
 */
export function decodeTolerant<Desc extends DescMessage>(
  schema: Desc,
  data: Uint8Array,
  field: string,
): MessageShape<Desc> {
  return decode(schema, data, field, false);
}

/** The first field, at any depth, that the contract does not define; its number stands for its name in the path. */
export function findUnknownField(schema: DescMessage, message: Message): Breach | undefined {
  const unknown = message.$unknown?.[0];
  if (unknown !== undefined) return { ...breachOf(Reason.UNKNOWN_FIELD), path: `${unknown.no}` };
  const values = message as unknown as Record<string, Message | Message[] | undefined>;
  for (const { name, localName, message: child } of messageFieldsOf(schema)) {
    const value = values[localName];
    if (value === undefined) continue;
    if (Array.isArray(value)) {
      for (let i = 0; i < value.length; i++) {
        const breach = findUnknownField(child, value[i] as Message);
        if (breach !== undefined) return below(`${name}[${i}]`, breach);
      }
    } else {
      const breach = findUnknownField(child, value);
      if (breach !== undefined) return below(name, breach);
    }
  }
  return undefined;
}

function decode<Desc extends DescMessage>(schema: Desc, data: Uint8Array, field: string, readUnknownFields: boolean) {
  try {
    return fromBinary(schema, data, { readUnknownFields });
  } catch (cause) {
    throw refuse(statementPath(field), breachOf(Reason.MALFORMED), cause);
  }
}

function breachOf(reason: Reason): Breach {
  return { reason, path: "", metadata: {} };
}

type MessageField = DescField & { message: DescMessage };

const messageFields = new WeakMap<DescMessage, readonly MessageField[]>();

/** The fields of a message that hold messages. A mistake in the contract itself is found here, once per message type. */
function messageFieldsOf(schema: DescMessage): readonly MessageField[] {
  let fields = messageFields.get(schema);
  if (fields === undefined) {
    const problem = profileProblem(schema);
    if (problem !== undefined) throw new TypeError(`${schema.typeName} has no deterministic encoding: ${problem}`);
    fields = schema.fields.filter((field): field is MessageField => field.message !== undefined);
    messageFields.set(schema, fields);
  }
  return fields;
}
