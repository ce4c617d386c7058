import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { GetHeadsRequestSchema } from "../../gen/omi/event/v1/event_service_pb.ts";
import { type BoundsSchema, Format } from "../../gen/omi/options/v1/options_pb.ts";
import { RotateKeyRequestSchema } from "../../gen/omi/registry/v1/registry_service_pb.ts";
import { isRefusal, reasonName } from "../../src/core/refusal.ts";
import { checkBounds } from "../../src/statement/bounds.ts";
import { createSigningKey } from "../../src/statement/crypto.ts";
import { type FieldSpec, FieldType, messageWith } from "./descriptor.ts";

type Bounds = MessageInitShape<typeof BoundsSchema>;

const { STRING, BYTES, BOOL, INT32, INT64, UINT32, UINT64, ENUM, MESSAGE } = FieldType;
const KEY_ROLE: FieldSpec = { type: ENUM, typeName: ".omi.key.v1.KeyRole" };
const PARAMETER: FieldSpec = { type: MESSAGE, typeName: ".omi.statement.v1.Parameter" };
const STATEMENT: FieldSpec = { type: MESSAGE, typeName: ".omi.statement.v1.Statement" };

const KEY = createSigningKey(new Uint8Array(32).fill(1));
const bytes = (length: number) => new Uint8Array(length).fill(1);

describe("strings", () => {
  test.each<[string, Bounds, string, string]>([
    ["may be empty", { minLength: 3, format: Format.DOMAIN, constant: "a.test" }, "", "good"],
    ["may be required", { required: true }, "", "required"],
    ["have a least length", { minLength: 3 }, "ab", "min_length"],
    ["have a least length in bytes", { minLength: 3 }, "aé", "good"],
    ["have a greatest length", { maxLength: 3 }, "abcd", "max_length"],
    ["have a greatest length that belongs to the bounds", { maxLength: 3 }, "abc", "good"],
    ["have a greatest length in bytes, of two", { maxLength: 3 }, "éé", "max_length"],
    ["have a greatest length in bytes, of three", { maxLength: 3 }, "中", "good"],
    ["have a greatest length in bytes, of three and more", { maxLength: 5 }, "中中", "max_length"],
    ["have a greatest length in bytes, of four", { maxLength: 4 }, "🌳", "good"],
    ["have a greatest length in bytes, of four and more", { maxLength: 4 }, "🌳a", "max_length"],
    ["have no bound of length without one", {}, "a".repeat(10_000), "good"],
    ["may have a constant", { constant: "key_rotation" }, "key_rotation", "good"],
    ["must equal their constant", { constant: "key_rotation" }, "decommission", "constant"],
    ["hold text", {}, "Zwei Zeilen,\n\tund ein ž 🌳.", "good"],
    ["hold no NUL", {}, "a\u0000", "format"],
    ["hold no carriage return", {}, "a\r\n", "format"],
    ["hold no escape", {}, "\u001b[31m", "format"],
    ["hold no delete", {}, "\u007f", "format"],
    ["hold no C1 control", {}, "\u0085", "format"],
    ["hold no half surrogate pair", {}, "\ud83c", "format"],
    ["may be domains", { format: Format.DOMAIN }, "a.test", "good"],
    ["must be domains", { format: Format.DOMAIN }, "A.test", "format"],
    ["may be AppIDs", { format: Format.APP_ID }, "test.registry.alice.shop.7f8a9d", "good"],
    ["must be AppIDs", { format: Format.APP_ID }, "shop", "format"],
    ["may be namespaces", { format: Format.NAMESPACE }, "alice", "good"],
    ["must be namespaces", { format: Format.NAMESPACE }, "a".repeat(33), "format"],
    ["may be names", { format: Format.NAME }, "a".repeat(33), "good"],
    ["must be names", { format: Format.NAME }, "a b", "format"],
    ["may be URLs", { format: Format.URL }, "https://a.test/x", "good"],
    ["must be URLs", { format: Format.URL }, "https://a.test/?x", "format"],
    ["must be URLs with https", { format: Format.URL }, "http://a.test", "format"],
    ["may be key IDs", { format: Format.KEY_ID }, KEY.keyId, "good"],
    ["must be key IDs", { format: Format.KEY_ID }, `${KEY.keyId}A`, "format"],
    ["may be e-mail addresses", { format: Format.EMAIL }, "alice@example.test", "good"],
    ["must be e-mail addresses", { format: Format.EMAIL }, "alice", "format"],
  ])("%s", (_, bounds, value, outcome) => {
    expect(outcomeOf({ type: STRING, bounds }, value)).toBe(outcome);
  });

  test("without any option are text all the same", () => {
    expect(outcomeOf({ type: STRING }, "\u0000")).toBe("format");
  });

  test("may be plain http URLs where the options say so", () => {
    const schema = messageWith({ value: { type: STRING, bounds: { format: Format.URL } } });
    const message = create(schema, { value: "http://a.test:8080" });
    checkBounds(schema, message, { allowPlainHttp: (host) => host === "a.test" });
    expect(() => checkBounds(schema, message, { allowPlainHttp: (host) => host === "b.test" })).toThrow();
  });
});

describe("bytes", () => {
  test.each<[string, Bounds, Uint8Array, string]>([
    ["may be empty", { minLength: 3, format: Format.NONCE }, bytes(0), "good"],
    ["may be required", { required: true }, bytes(0), "required"],
    ["have a least length", { minLength: 3 }, bytes(2), "min_length"],
    ["have a greatest length", { maxLength: 3 }, bytes(4), "max_length"],
    ["may have any content", {}, new Uint8Array([0, 255]), "good"],
    ["may be nonces", { format: Format.NONCE }, bytes(16), "good"],
    ["must be nonces", { format: Format.NONCE }, bytes(15), "format"],
    ["may be digests", { format: Format.SHA256 }, bytes(32), "good"],
    ["must be digests", { format: Format.SHA256 }, bytes(33), "format"],
    ["may be public keys", { format: Format.PUBLIC_KEY, minLength: 32, maxLength: 32 }, KEY.publicKey, "good"],
    ["must be public keys of 32 bytes", { format: Format.PUBLIC_KEY, minLength: 32 }, bytes(31), "KEY_INVALID"],
    ["must not be keys of small order", { format: Format.PUBLIC_KEY }, new Uint8Array(32), "KEY_INVALID"],
  ])("%s", (_, bounds, value, outcome) => {
    expect(outcomeOf({ type: BYTES, bounds }, value)).toBe(outcome);
  });
});

describe("numbers", () => {
  test.each<[string, FieldSpec["type"], Bounds | undefined, number | bigint, string]>([
    ["may be zero", UINT32, { min: 5n }, 0, "good"],
    ["may be required", UINT32, { required: true }, 0, "required"],
    ["of 64 bits may be required", INT64, { required: true }, 0n, "required"],
    ["have a least value", UINT32, { min: 5n }, 4, "min"],
    ["have a least value that belongs to the bounds", UINT32, { min: 5n }, 5, "good"],
    ["have a greatest value", UINT32, { max: 5n }, 6, "max"],
    ["have a greatest value that belongs to the bounds", UINT32, { max: 5n }, 5, "good"],
    ["of 64 bits have a greatest value", UINT64, { max: 2n ** 53n }, 2n ** 53n + 1n, "max"],
    ["of 64 bits have a least value", INT64, { min: -5n }, -6n, "min"],
    ["are not negative if bounded and not said to be", INT32, { max: 5n }, -1, "min"],
    ["may be negative if said to be", INT32, { min: -5n }, -5, "good"],
    ["have no bounds without the option", INT64, undefined, -(2n ** 63n), "good"],
    ["have no greatest value without one", UINT64, {}, 2n ** 64n - 1n, "good"],
  ])("%s", (_, type, bounds, value, outcome) => {
    expect(outcomeOf({ type, ...(bounds && { bounds }) } as FieldSpec, value)).toBe(outcome);
  });
});

describe("bools and enums", () => {
  test.each<[string, FieldSpec, boolean | number, string]>([
    ["a bool may be false", { type: BOOL }, false, "good"],
    ["a bool may have to be true", { type: BOOL, bounds: { required: true } }, false, "required"],
    ["an enum may be unspecified", KEY_ROLE, 0, "good"],
    ["an enum may have to be specified", { ...KEY_ROLE, bounds: { required: true } }, 0, "required"],
    ["an enum must be known", KEY_ROLE, 99, "enum"],
    ["an enum must not be negative", KEY_ROLE, -1, "enum"],
    ["an enum has the contract's values", { ...KEY_ROLE, bounds: { required: true } }, 1, "good"],
  ])("%s", (_, spec, value, outcome) => {
    expect(outcomeOf(spec, value)).toBe(outcome);
  });
});

describe("lists", () => {
  test.each<[string, FieldSpec, unknown[], string]>([
    ["may be empty", { type: STRING, bounds: { minLength: 1 } }, [], "good"],
    ["may be required", { type: STRING, bounds: { required: true } }, [], "required"],
    ["have a greatest number of items", { type: STRING, bounds: { maxItems: 2 } }, ["a", "b", "c"], "max_items"],
    ["have bounds for each item", { type: STRING, bounds: { maxLength: 1 } }, ["a", "bb"], "[1] max_length"],
    ["have empty items, where these have no bounds", { type: STRING, bounds: {} }, ["a", ""], "good"],
    ["have no empty items, where these have some", { type: STRING, bounds: { minLength: 1 } }, [""], "[0] min_length"],
    ["of bytes", { type: BYTES, bounds: { format: Format.SHA256 } }, [bytes(32), bytes(31)], "[1] format"],
    ["of numbers", { type: UINT32, bounds: { max: 5n } }, [1, 6], "[1] max"],
    ["of known enums", KEY_ROLE, [1, 99], "[1] enum"],
    ["of specified enums", { ...KEY_ROLE, bounds: { required: true } }, [1, 0], "[1] required"],
    ["of messages", PARAMETER, [{ name: "ab" }, { name: "A" }], "[1].name min_length"],
    ["of messages with missing fields", PARAMETER, [{}], "[0].name required"],
    ["of sorted parameters", PARAMETER, [{ name: "aa" }, { name: "ab" }, { name: "b-c" }], "good"],
    ["of parameters in another order", PARAMETER, [{ name: "ab" }, { name: "aa" }], "[1].name sorted"],
    ["of parameters named twice", PARAMETER, [{ name: "aa" }, { name: "ab" }, { name: "ab" }], "[2].name sorted"],
    ["of statements", STATEMENT, [statement({}), statement({ version: "2" })], "[1] VERSION_UNSUPPORTED"],
  ])("%s", (_, spec, value, outcome) => {
    expect(outcomeOf({ ...spec, repeated: true }, value)).toBe(outcome);
  });
});

describe("messages in messages", () => {
  const inner = { name: "Inner", field: [{ name: "role", number: 1, ...KEY_ROLE }] };
  const spec: FieldSpec = { type: MESSAGE, typeName: ".test.Inner" };

  test.each<[string, FieldSpec, object | undefined, string]>([
    ["may be absent", spec, undefined, "good"],
    ["may be required", { ...spec, bounds: { required: true } }, undefined, "required"],
    ["may be present and empty", { ...spec, bounds: { required: true } }, {}, "good"],
    ["are checked", spec, { role: 99 }, ".role enum"],
  ])("%s", (_, field, value, outcome) => {
    expect(outcomeOf(field, value, [inner])).toBe(outcome);
  });

  test("may hold themselves", () => {
    const node = {
      name: "Node",
      field: [
        { name: "next", number: 1, type: MESSAGE, typeName: ".test.Node" },
        { name: "text", number: 2, type: STRING },
      ],
    };
    const value = { next: { next: { text: "\u0000" } } };
    expect(outcomeOf({ type: MESSAGE, typeName: ".test.Node" }, value, [node])).toBe(".next.next.text format");
  });

  test("may have a field named length", () => {
    const measured = { name: "Measured", field: [{ name: "length", number: 1, type: UINT32 }] };
    const field = { type: MESSAGE, typeName: ".test.Measured", bounds: { required: true } };
    expect(outcomeOf(field, { length: 0 }, [measured])).toBe("good");
  });

  test("are checked in the oneof case that is set", () => {
    const bounds = { maxLength: 1 };
    const schema = messageWith(
      { a: { type: STRING, oneofIndex: 0, bounds }, b: { type: STRING, oneofIndex: 0, bounds } },
      {},
      ["choice"],
    );
    expect(refusalOf(() => checkBounds(schema, create(schema, { choice: { case: "b", value: "bb" } })))).toBe(
      "b max_length",
    );
    checkBounds(schema, create(schema, { choice: { case: "a", value: "a" } }));
    checkBounds(schema, create(schema));
  });

  test("of the well-known types have no bounds", () => {
    expect(outcomeOf({ type: MESSAGE, typeName: ".google.protobuf.Timestamp" }, { seconds: -1n })).toBe("good");
  });
});

describe("statements in messages", () => {
  const spec: FieldSpec = { ...STATEMENT, carries: "omi.registry.v1.Suspend" };

  test.each<[string, FieldSpec, object | undefined, string]>([
    ["may be absent", spec, undefined, "good"],
    ["have the type that the field carries", spec, statement({}), "good"],
    ["have no other type", spec, statement({ type: "omi.registry.v1.Unbind" }), "TYPE_MISMATCH"],
    ["may have any type", { ...STATEMENT, carries: "*" }, statement({ type: "any.Thing" }), "good"],
    ["may have any type without the option", STATEMENT, statement({ type: "any.Thing" }), "good"],
    ["have some type", STATEMENT, statement({ type: "" }), ".type required"],
    ["have a type that is not too long", STATEMENT, statement({ type: "a".repeat(129) }), ".type max_length"],
    ["have a version", spec, statement({ version: "1.1" }), "VERSION_UNSUPPORTED"],
    ["have data", spec, statement({ data: bytes(0) }), ".data required"],
    ["have not too much data", spec, statement({ data: bytes(65_537) }), "TOO_LARGE"],
    ["have data that is not looked at", spec, statement({ data: new Uint8Array(65_536) }), "good"],
    ["have a signature", spec, statement({ signature: bytes(0) }), ".signature required"],
    ["have a whole signature", spec, statement({ signature: bytes(63) }), ".signature min_length"],
    ["have no more than a signature", spec, statement({ signature: bytes(65) }), ".signature max_length"],
  ])("%s", (_, field, value, outcome) => {
    expect(outcomeOf(field, value)).toBe(outcome);
  });
});

describe("the contract's own requests", () => {
  test("are checked as they are", () => {
    const nonce = bytes(16);
    checkBounds(GetHeadsRequestSchema, create(GetHeadsRequestSchema, { nonce }));
    const request = create(GetHeadsRequestSchema, { appIds: ["test.registry.alice.shop.7f8a9d", "x"], nonce });
    expect(refusalOf(() => checkBounds(GetHeadsRequestSchema, request))).toBe("app_ids[1] format");
  });

  test("name their statement", () => {
    const request = create(RotateKeyRequestSchema);
    expect(refusalOf(() => checkBounds(RotateKeyRequestSchema, request))).toBe("statement required");
  });

  test("may be part of another request", () => {
    const request = create(GetHeadsRequestSchema, { nonce: bytes(1) });
    const act = () => checkBounds(GetHeadsRequestSchema, request, { field: "a.b[0]" });
    expect(refusalOf(act)).toBe("a.b[0].nonce min_length");
  });
});

describe("a contract that cannot be checked", () => {
  test.each<[string, FieldSpec]>([
    ["a string with a format of bytes", { type: STRING, bounds: { format: Format.NONCE } }],
    ["bytes with a format of strings", { type: BYTES, bounds: { format: Format.DOMAIN } }],
  ])("%s is a programming error, each time", (_, spec) => {
    const schema = messageWith({ good: { type: STRING }, value: spec });
    expect(() => checkBounds(schema, create(schema))).toThrow(TypeError);
    expect(() => checkBounds(schema, create(schema))).toThrow(TypeError);
  });
});

function statement(members: object) {
  return { version: "1.0", type: "omi.registry.v1.Suspend", data: bytes(1), signature: bytes(64), ...members };
}

/** `good`, or what is wrong with a field named `value`, whose name is left out. */
function outcomeOf(spec: FieldSpec, value: unknown, messages: object[] = []): string {
  const schema = messageWith({ value: spec }, { messageType: messages });
  return refusalOf(() => checkBounds(schema, create(schema, { value })))?.replace(/^value ?/, "") ?? "good";
}

/** The path and what is wrong there. */
function refusalOf(act: () => void): string | undefined {
  try {
    act();
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return `${error.metadata.field} ${error.metadata.rule ?? reasonName(error.reason)}`;
  }
  return undefined;
}
