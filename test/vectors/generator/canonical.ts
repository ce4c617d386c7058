import {
  create,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { ProvisionServiceSchema } from "../../../gen/omi/agent/v1/agent_pb.ts";
import { KeyRole } from "../../../gen/omi/key/v1/key_pb.ts";
import { Audience, SignableSchema } from "../../../gen/omi/options/v1/options_pb.ts";
import { NamespaceClaimSchema } from "../../../gen/omi/registry/v1/namespace_pb.ts";
import { RotationSchema } from "../../../gen/omi/registry/v1/service_pb.ts";
import { HeaderSchema, ParameterSchema } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { concatBytes, toHex, utf8 } from "../../../src/core/bytes.ts";
import { invalid, type JsonObject, type VectorFile, valid } from "./vector.ts";

const ROOM = "canonical";

/** Encodings as a decoder may meet them: the deterministic one, and what decoders forgive although it is not. */
export function canonicalVectors(): VectorFile[] {
  return [...deterministic(), ...forgivable(), ...unknown(), ...malformed()];
}

function deterministic(): VectorFile[] {
  return [
    encoding("empty_message", "no field is set, so there are no bytes", HeaderSchema, {}),
    encoding("defaults_omitted", "zero, false, empty text and empty bytes are not written", RotationSchema, {
      gracePeriodSeconds: 0,
      immediate: false,
      context: "",
      serviceId: "articles",
    }),
    encoding(
      "present_empty_message",
      "a message field that is present is written, also if it is empty",
      RotationSchema,
      {
        header: {},
      },
    ),
    encoding("scalars", "bytes, text, a bool and a number of several bytes", RotationSchema, {
      newPublicKey: new Uint8Array(32).fill(7),
      gracePeriodSeconds: 86400,
      immediate: true,
      context: "key_rotation",
    }),
    encoding("int64_maximum", "the greatest int64 has nine bytes", HeaderSchema, { timestamp: 2n ** 63n - 1n }),
    encoding("int64_negative", "a negative int64 has ten bytes", HeaderSchema, { timestamp: -1n }),
    encoding("uint32_maximum", "the greatest uint32 has five bytes", RotationSchema, {
      gracePeriodSeconds: 2 ** 32 - 1,
    }),
    encoding("packed_enums", "a list of enums in one field", SignableSchema, {
      signers: [KeyRole.MASTER, KeyRole.SERVICE],
      audience: Audience.REGISTRY,
    }),
    encoding("repeated_messages", "a list of messages, in the order of the list", ProvisionServiceSchema, {
      parameters: [{ name: "color", value: "blue" }, { name: "size" }, {}],
    }),
    encoding("repeated_bytes", "a list of bytes, one of them empty", NamespaceClaimSchema, {
      guardianPublicKeys: [new Uint8Array([1]), new Uint8Array(), new Uint8Array([2, 3])],
    }),
    encoding("text_of_128_bytes", "a length of two bytes", ParameterSchema, { name: "a".repeat(128) }),
    encoding("text_of_four_byte_characters", "text beyond the basic plane", ParameterSchema, { value: "🌳 ž 中" }),
    encoding("text_with_byte_order_mark", "a leading U+FEFF is text", ParameterSchema, { value: "\uFEFFx" }),
  ];
}

/** Every one decodes to the same message as its deterministic encoding does. */
function forgivable(): VectorFile[] {
  const name = write((w) => w.tag(1, LENGTH).string("color"));
  const value = write((w) => w.tag(2, LENGTH).string("blue"));
  return [
    notCanonical("fields_out_of_order", "field 2 stands before field 1", ParameterSchema, concatBytes(value, name)),
    notCanonical(
      "field_doubled",
      "field 1 is written twice; the last one counts",
      ParameterSchema,
      concatBytes(name, name, value),
    ),
    notCanonical(
      "message_in_two_parts",
      "a message field is written twice; decoders merge the parts",
      RotationSchema,
      concatBytes(
        nested(
          1,
          write((w) => w.tag(1, LENGTH).string("a.test")),
        ),
        nested(
          1,
          write((w) => w.tag(2, VARINT).int64(1n)),
        ),
      ),
    ),
    notCanonical(
      "explicit_empty_text",
      "an empty text is written",
      ParameterSchema,
      concatBytes(
        name,
        write((w) => w.tag(2, LENGTH).string("")),
      ),
    ),
    notCanonical(
      "explicit_empty_bytes",
      "empty bytes are written",
      HeaderSchema,
      write((w) => w.tag(3, LENGTH).bytes(new Uint8Array())),
    ),
    notCanonical(
      "explicit_zero",
      "a zero is written",
      RotationSchema,
      write((w) => w.tag(6, VARINT).uint32(0)),
    ),
    notCanonical(
      "explicit_false",
      "a false is written",
      RotationSchema,
      write((w) => w.tag(7, VARINT).bool(false)),
    ),
    notCanonical(
      "explicit_enum_zero",
      "an enum's zero is written",
      SignableSchema,
      write((w) => w.tag(2, VARINT).int32(0)),
    ),
    notCanonical(
      "explicit_default_in_list_item",
      "an empty text is written in a message in a list",
      ProvisionServiceSchema,
      nested(
        9,
        concatBytes(
          name,
          write((w) => w.tag(2, LENGTH).string("")),
        ),
      ),
    ),
    notCanonical(
      "long_varint_value",
      "the number 5 in two bytes",
      RotationSchema,
      write((w) => w.tag(6, VARINT).raw(hex("8500"))),
    ),
    notCanonical("long_varint_tag", "a field's tag in two bytes", RotationSchema, hex("b08000" + "05")),
    notCanonical(
      "long_varint_length",
      "the length 5 in two bytes",
      ParameterSchema,
      concatBytes(hex("0a8500"), utf8("color")),
    ),
    notCanonical(
      "bool_of_two",
      "true written as 2",
      RotationSchema,
      write((w) => w.tag(7, VARINT).uint32(2)),
    ),
    notCanonical(
      "bool_of_many_bytes",
      "true written as 2^63",
      RotationSchema,
      write((w) => w.tag(7, VARINT).uint64(2n ** 63n)),
    ),
    notCanonical(
      "uint32_overflow",
      "a uint32 with bits above the 32nd, which decoders drop",
      RotationSchema,
      write((w) => w.tag(6, VARINT).uint64(2n ** 32n + 5n)),
    ),
    notCanonical(
      "enum_overflow",
      "an enum with bits above the 32nd, which decoders drop",
      SignableSchema,
      write((w) => w.tag(2, VARINT).uint64(2n ** 32n + 2n)),
    ),
    notCanonical(
      "negative_enum_in_five_bytes",
      "a negative enum number must have ten bytes",
      SignableSchema,
      write((w) => w.tag(2, VARINT).uint32(2 ** 32 - 1)),
    ),
    notCanonical(
      "unpacked_list",
      "each item of a list of enums in a field of its own",
      SignableSchema,
      write((w) => w.tag(1, VARINT).int32(1).tag(1, VARINT).int32(6)),
    ),
    notCanonical(
      "packed_list_in_two_parts",
      "a packed list in two fields",
      SignableSchema,
      write((w) => w.tag(1, LENGTH).fork().int32(1).join().tag(1, LENGTH).fork().int32(6).join()),
    ),
    notCanonical(
      "packed_list_empty",
      "a packed list without items is written",
      SignableSchema,
      write((w) => w.tag(1, LENGTH).fork().join()),
    ),
  ];
}

function unknown(): VectorFile[] {
  const unknownVarint = write((w) => w.tag(99, VARINT).uint32(1));
  const header = write((w) => w.tag(1, LENGTH).string("a.test"));
  return [
    refused(
      "unknown_field",
      "a field that the message does not define",
      "UNKNOWN_FIELD",
      ParameterSchema,
      concatBytes(
        write((w) => w.tag(1, LENGTH).string("color")),
        unknownVarint,
      ),
    ),
    refused(
      "unknown_field_first",
      "the same, before the known ones",
      "UNKNOWN_FIELD",
      ParameterSchema,
      concatBytes(
        unknownVarint,
        write((w) => w.tag(1, LENGTH).string("color")),
      ),
    ),
    refused(
      "unknown_field_in_header",
      "a field that the header does not define",
      "UNKNOWN_FIELD",
      RotationSchema,
      nested(1, concatBytes(header, unknownVarint)),
    ),
    refused(
      "unknown_field_in_list_item",
      "a field that the second parameter does not define",
      "UNKNOWN_FIELD",
      ProvisionServiceSchema,
      concatBytes(
        nested(
          9,
          write((w) => w.tag(1, LENGTH).string("aa")),
        ),
        nested(9, unknownVarint),
      ),
    ),
    refused(
      "unknown_field_in_nested_statement",
      "a field that the Statement inside does not define",
      "UNKNOWN_FIELD",
      RotationSchema,
      nested(
        5,
        concatBytes(
          write((w) => w.tag(1, LENGTH).string("1.0")),
          unknownVarint,
        ),
      ),
    ),
    refused(
      "unknown_group",
      "a group that the message does not define",
      "UNKNOWN_FIELD",
      ParameterSchema,
      write((w) => w.tag(9, WireType.StartGroup).tag(9, WireType.EndGroup)),
    ),
  ];
}

function malformed(): VectorFile[] {
  const color = utf8("color");
  return [
    refused(
      "truncated_text",
      "a text ends before its length",
      "MALFORMED",
      ParameterSchema,
      concatBytes(hex("0a06"), color),
    ),
    refused("truncated_varint", "the last byte says that another follows", "MALFORMED", RotationSchema, hex("3085")),
    refused("truncated_message", "a message ends before its length", "MALFORMED", RotationSchema, hex("0a7f0a01")),
    refused(
      "varint_of_eleven_bytes",
      "a number of eleven bytes",
      "MALFORMED",
      HeaderSchema,
      concatBytes(hex("10"), new Uint8Array(10).fill(0x80), hex("00")),
    ),
    refused("field_number_zero", "there is no field 0", "MALFORMED", ParameterSchema, hex("0000")),
    refused("wire_type_7", "there is no wire type 7", "MALFORMED", ParameterSchema, hex("0f00")),
    refused("end_without_group", "a group ends that did not begin", "MALFORMED", ParameterSchema, hex("4c")),
    refused(
      "utf8_lone_continuation",
      "a continuation byte alone is not UTF-8",
      "MALFORMED",
      ParameterSchema,
      text(hex("80")),
    ),
    refused("utf8_overlong", "a slash in two bytes is not UTF-8", "MALFORMED", ParameterSchema, text(hex("c0af"))),
    refused("utf8_surrogate", "half a surrogate pair is not UTF-8", "MALFORMED", ParameterSchema, text(hex("eda080"))),
    refused(
      "utf8_truncated",
      "a character of four bytes ends after three",
      "MALFORMED",
      ParameterSchema,
      text(hex("f09f8c")),
    ),
    refused("utf8_above_unicode", "U+110000 does not exist", "MALFORMED", ParameterSchema, text(hex("f4908080"))),
    refused(
      "utf8_in_long_text",
      "a byte that is not UTF-8 at the end of a text of 64 bytes",
      "MALFORMED",
      ParameterSchema,
      text(concatBytes(utf8("a".repeat(63)), hex("ff"))),
    ),
  ];
}

const VARINT = WireType.Varint;
const LENGTH = WireType.LengthDelimited;

function encoding<Desc extends DescMessage>(
  name: string,
  description: string,
  schema: Desc,
  init: MessageInitShape<Desc>,
): VectorFile {
  const message = create(schema, init);
  return valid(ROOM, name, {
    description,
    type: schema.typeName,
    message: jsonOf(schema, message),
    data: toHex(toBinary(schema, message)),
  });
}

function notCanonical(name: string, description: string, schema: DescMessage, data: Uint8Array): VectorFile {
  return refused(name, description, "NOT_CANONICAL", schema, data);
}

function refused(name: string, description: string, reason: string, schema: DescMessage, data: Uint8Array): VectorFile {
  return invalid(ROOM, name, { description, reason, type: schema.typeName, data: toHex(data) });
}

/** The message as proto3 JSON. */
export function jsonOf<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): JsonObject {
  return toJson(schema, message) as JsonObject;
}

function write(fields: (writer: BinaryWriter) => BinaryWriter): Uint8Array {
  return fields(new BinaryWriter()).finish();
}

function nested(field: number, message: Uint8Array): Uint8Array {
  return write((w) => w.tag(field, LENGTH).bytes(message));
}

/** A parameter's value of these bytes. */
function text(bytes: Uint8Array): Uint8Array {
  return nested(2, bytes);
}

function hex(digits: string): Uint8Array {
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
