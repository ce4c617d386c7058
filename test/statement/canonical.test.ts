import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HeaderSchema, ParameterSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { decodeCanonical, decodeTolerant, encodeCanonical } from "../../src/statement/canonical.ts";
import { profileProblem } from "../../src/statement/profile.ts";
import { contract } from "./contract.ts";
import { type FieldSpec, FieldType, messageWith } from "./descriptor.ts";
import { refusalOf } from "./refusal.ts";

describe("decoding", () => {
  test("gives back what was encoded", () => {
    const header = fc.record({
      audience: fc.string({ unit: "grapheme" }),
      timestamp: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      nonce: fc.uint8Array({ maxLength: 200 }),
      signer: fc.string(),
    });
    fc.assert(
      fc.property(header, (init) => {
        const message = create(HeaderSchema, init);
        expect(decodeCanonical(HeaderSchema, encodeCanonical(HeaderSchema, message), "")).toEqual(message);
      }),
    );
  });

  test("accepts one encoding of a message and no other", async () => {
    const good = toBinary(ParameterSchema, create(ParameterSchema, { name: "color", value: "blue" }));
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 8 }), fc.nat(good.length), async (extra, at) => {
        const data = new Uint8Array([...good.slice(0, at), ...extra, ...good.slice(at)]);
        if ((await refusalOf(() => decodeCanonical(ParameterSchema, data, ""))) === undefined) {
          expect(toBinary(ParameterSchema, decodeCanonical(ParameterSchema, data, ""))).toEqual(data);
        }
      }),
      { numRuns: 500 },
    );
  });

  // How a library reads such a field is its own affair; that it is refused is not.
  test.each([
    ["a number where bytes belong", (w: BinaryWriter) => w.tag(1, WireType.Varint).uint32(0)],
    [
      "bytes where a number belongs",
      (w: BinaryWriter) => w.tag(2, WireType.LengthDelimited).bytes(new Uint8Array([1])),
    ],
    ["four bytes where a number belongs", (w: BinaryWriter) => w.tag(2, WireType.Bit32).fixed32(5)],
    ["a group where bytes belong", (w: BinaryWriter) => w.tag(3, WireType.StartGroup).tag(3, WireType.EndGroup)],
  ])("refuses %s", async (_, write) => {
    const data = write(new BinaryWriter()).finish();
    expect(await refusalOf(() => decodeCanonical(HeaderSchema, data, ""))).toBeDefined();
  });

  test("with tolerance drops unknown fields and takes any order", () => {
    const data = new BinaryWriter().tag(2, WireType.LengthDelimited).string("blue");
    data.tag(77, WireType.Varint).uint32(1).tag(1, WireType.LengthDelimited).string("color");
    const message = decodeTolerant(ParameterSchema, data.finish(), "");
    expect(message).toEqual(create(ParameterSchema, { name: "color", value: "blue" }));
  });
});

describe("the deterministic profile", () => {
  const { STRING, INT32, UINT64, BOOL, BYTES, FLOAT, DOUBLE, MESSAGE, ENUM } = FieldType;
  const entry = {
    name: "ValueEntry",
    options: { mapEntry: true },
    field: [
      { name: "key", number: 1, type: STRING },
      { name: "value", number: 2, type: STRING },
    ],
  };

  test.each<[string, FieldSpec, object?]>([
    ["scalars", { type: UINT64 }],
    ["bools", { type: BOOL }],
    ["lists of numbers", { type: INT32, repeated: true }],
    ["lists of bytes", { type: BYTES, repeated: true }],
    ["enums", { type: ENUM, typeName: ".omi.key.v1.KeyRole" }],
    ["messages", { type: MESSAGE, typeName: ".omi.statement.v1.Statement" }],
    ["messages that hold themselves", { type: MESSAGE, typeName: ".test.Subject" }],
  ])("has %s", (_, spec) => {
    expect(profileProblem(messageWith({ value: spec }))).toBeUndefined();
  });

  test.each<[string, FieldSpec, object?]>([
    ["floats", { type: FLOAT }],
    ["lists of doubles", { type: DOUBLE, repeated: true }],
    ["optional scalars", { type: STRING, proto3Optional: true, oneofIndex: 0 }],
    ["oneofs", { type: STRING, oneofIndex: 0 }],
    ["unpacked numbers", { type: INT32, repeated: true, options: { packed: false } }],
    ["unpacked enums", { type: ENUM, typeName: ".omi.key.v1.KeyRole", repeated: true, options: { packed: false } }],
    ["Any", { type: MESSAGE, typeName: ".google.protobuf.Any" }],
    ["well-known types", { type: MESSAGE, typeName: ".google.protobuf.Timestamp" }],
    [
      "messages with such fields",
      { type: MESSAGE, typeName: ".test.Inner" },
      { messageType: [{ name: "Inner", field: [{ name: "f", number: 1, type: FLOAT }] }] },
    ],
    ["proto2", { type: STRING }, { syntax: "proto2" }],
  ])("has no %s", (_, spec, more = {}) => {
    const schema = messageWith({ value: spec }, more, spec.oneofIndex === undefined ? [] : ["choice"]);
    expect(profileProblem(schema)).toBeDefined();
    expect(() => encodeCanonical(schema, create(schema))).toThrow(TypeError);
  });

  test("has no maps", () => {
    const schema = messageWith(
      { value: { type: MESSAGE, typeName: ".test.Subject.ValueEntry", repeated: true } },
      {},
      [],
      [entry],
    );
    expect(profileProblem(schema)).toBeDefined();
  });

  test("holds for everything that the contract lets somebody sign", () => {
    const problems = [...contract]
      .filter((type) => type.kind === "message")
      .filter((schema) => schema.fields[0]?.name === "header")
      .map(profileProblem);
    expect(problems.length).toBeGreaterThan(15);
    expect(problems.filter((problem) => problem !== undefined)).toEqual([]);
  });
});
