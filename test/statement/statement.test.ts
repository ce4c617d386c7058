import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EventSchema, EventType } from "../../gen/omi/event/v1/event_pb.ts";
import { AppSchema, BackboneUpdateSchema, OperationalRole } from "../../gen/omi/registry/v1/app_pb.ts";
import { RotationSchema, SuspendSchema } from "../../gen/omi/registry/v1/service_pb.ts";
import { type Statement, StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { concatBytes, fromHex, toHex } from "../../src/core/bytes.ts";
import { createSigningKey } from "../../src/statement/crypto.ts";
import { keyIdOf } from "../../src/statement/key-id.ts";
import {
  openAnswer,
  openAny,
  openRequest,
  signData,
  signingInput,
  signStatement,
  statementId,
  verifySignature,
} from "../../src/statement/statement.ts";
import { contract } from "./contract.ts";
import { refusalOf } from "./refusal.ts";

const key = createSigningKey(new Uint8Array(32).fill(1));
const other = createSigningKey(new Uint8Array(32).fill(2));

const suspension: MessageInitShape<typeof SuspendSchema> = {
  header: { audience: "registry.test", timestamp: 1_780_000_000n, nonce: new Uint8Array(16).fill(3) },
  appId: "test.registry.alice.shop.7f8a9d",
  serviceId: "articles",
};
const signed = signStatement(SuspendSchema, suspension, key);

const event: MessageInitShape<typeof EventSchema> = {
  header: { issuedAt: 1_780_000_000n },
  event: EventType.PURGE,
  sequence: 1n,
};
const signedEvent = signStatement(EventSchema, event, key);

function change(statement: Statement, members: MessageInitShape<typeof StatementSchema>): Statement {
  const { version, type, data, signature } = statement;
  return create(StatementSchema, { version, type, data, signature, ...members });
}

describe("signing", () => {
  test("fills in the signer and leaves the caller's message alone", () => {
    const message = create(SuspendSchema, suspension);
    const statement = signStatement(SuspendSchema, message, key);
    expect(openRequest(SuspendSchema, statement).header.signer).toBe(key.keyId);
    expect(message.header?.signer).toBe("");
  });

  test("takes any signer that the caller names for the key's", () => {
    const message = { ...suspension, header: { ...suspension.header, signer: other.keyId } };
    expect(openRequest(SuspendSchema, signStatement(SuspendSchema, message, key)).header.signer).toBe(key.keyId);
  });

  test("gives the same bytes each time", () => {
    expect(signStatement(SuspendSchema, suspension, key)).toEqual(signed);
  });

  test("leaves out unknown fields", () => {
    const message = create(SuspendSchema, suspension);
    message.$unknown = [{ no: 99, wireType: WireType.Varint, data: new Uint8Array([1]) }];
    expect(signStatement(SuspendSchema, message, key)).toEqual(signed);
  });

  test("needs a header", () => {
    expect(() => signStatement(SuspendSchema, { serviceId: "articles" }, key)).toThrow(TypeError);
    expect(() => signStatement(AppSchema, {}, key)).toThrow(TypeError);
  });
});

describe("the signing input", () => {
  test("is the encoded message of version, type and data", () => {
    const statement = { version: "1.0", type: "a.B", data: new Uint8Array([1, 2]) };
    expect(toHex(signingInput(statement))).toBe("0a03312e30" + "1203612e42" + "1a020102");
  });

  test("has the Statement ID as its digest, whatever the signature", () => {
    expect(statementId(signed)).toEqual(openRequest(SuspendSchema, signed).id);
    expect(statementId(change(signed, { signature: new Uint8Array(64) }))).toEqual(statementId(signed));
  });

  test("differs wherever two Statements differ", () => {
    const part = fc.tuple(fc.string({ maxLength: 4 }), fc.string({ maxLength: 4 }), fc.uint8Array({ maxLength: 4 }));
    fc.assert(
      fc.property(part, part, (a, b) => {
        const [first, second] = [a, b].map(([version, type, data]) => toHex(signingInput({ version, type, data })));
        expect(first === second).toBe(a[0] === b[0] && a[1] === b[1] && toHex(a[2]) === toHex(b[2]));
      }),
    );
  });
});

describe("opening a request", () => {
  test("gives what it says", () => {
    const opened = openRequest(SuspendSchema, signed);
    expect(opened).toMatchObject({ type: "omi.registry.v1.Suspend", statement: signed, field: "" });
    expect(opened.message.serviceId).toBe("articles");
    expect(opened.header).toBe(opened.message.header);
  });

  test("takes 64 KiB of data and no more", async () => {
    const sized = (length: number) => signData(SuspendSchema.typeName, new Uint8Array(length).fill(0x80), key);
    expect(await refusalOf(() => openRequest(SuspendSchema, sized(65_536)))).toMatchObject({ reason: "MALFORMED" });
    expect(await refusalOf(() => openRequest(SuspendSchema, sized(65_537)))).toEqual({
      reason: "TOO_LARGE",
      metadata: { field: "statement", limit: "65536" },
    });
  });

  test("needs a Statement", async () => {
    expect(await refusalOf(() => openRequest(SuspendSchema, undefined))).toEqual({
      reason: "FIELD_INVALID",
      metadata: { field: "statement", rule: "required" },
    });
  });

  test("refuses unknown fields beside the signed ones", async () => {
    const statement = change(signed, {});
    statement.$unknown = [{ no: 9, wireType: WireType.Varint, data: new Uint8Array([1]) }];
    expect(await refusalOf(() => openRequest(SuspendSchema, statement))).toEqual({
      reason: "UNKNOWN_FIELD",
      metadata: { field: "statement.9" },
    });
  });

  test("says what was expected", async () => {
    expect(await refusalOf(() => openRequest(RotationSchema, signed))).toEqual({
      reason: "TYPE_MISMATCH",
      metadata: { field: "statement", expected: "omi.registry.v1.Rotation" },
    });
    expect(await refusalOf(() => openRequest(SuspendSchema, change(signed, { version: "2" })))).toEqual({
      reason: "VERSION_UNSUPPORTED",
      metadata: { field: "statement", supported: "1.0" },
    });
  });

  test("names a nested Statement and its fields by their whole path", async () => {
    const field = "developer_proof";
    const open = (statement: Statement) => refusalOf(() => openRequest(SuspendSchema, statement, { field }));
    const shortNonce = { ...suspension, header: { ...suspension.header, nonce: new Uint8Array(3) } };
    const extra = new BinaryWriter().tag(99, WireType.Varint).uint32(1).finish();
    expect(await open(signStatement(SuspendSchema, shortNonce, key))).toMatchObject({
      metadata: { field: "developer_proof.header.nonce", rule: "min_length" },
    });
    expect(await open(change(signed, { version: "" }))).toMatchObject({ metadata: { field } });
    expect(await open(change(signed, { signature: new Uint8Array(1) }))).toMatchObject({
      metadata: { field: "developer_proof.signature" },
    });
    expect(await open(signData(signed.type, signed.data.slice(1), key))).toMatchObject({ metadata: { field } });
    expect(await open(signData(signed.type, concatBytes(signed.data, extra), key))).toMatchObject({
      reason: "UNKNOWN_FIELD",
      metadata: { field: "developer_proof.99" },
    });
    expect(openRequest(SuspendSchema, signed, { field }).field).toBe(field);
  });

  test("allows plain http where it is told to", async () => {
    const statement = signStatement(
      BackboneUpdateSchema,
      {
        header: suspension.header,
        appId: suspension.appId,
        operationalServices: [{ role: OperationalRole.LOGGING, name: "main", url: "http://logs.test:4318" }],
      } as MessageInitShape<typeof BackboneUpdateSchema>,
      key,
    );
    const allowPlainHttp = (host: string) => host === "logs.test";
    expect(openRequest(BackboneUpdateSchema, statement, { allowPlainHttp }).message.operationalServices).toHaveLength(
      1,
    );
    expect(await refusalOf(() => openRequest(BackboneUpdateSchema, statement))).toMatchObject({
      metadata: { field: "operational_services[0].url", rule: "format" },
    });
  });

  test("is not for answers", () => {
    expect(() => openRequest(EventSchema, signedEvent)).toThrow(TypeError);
    expect(() => openRequest(AppSchema, signed)).toThrow(TypeError);
  });

  test("ends in a refusal for any bytes, never in another error", async () => {
    const open = (data: Uint8Array) => refusalOf(() => openRequest(SuspendSchema, signData(signed.type, data, key)));
    const edit = fc.record({
      at: fc.nat(signed.data.length - 1),
      remove: fc.nat(3),
      insert: fc.uint8Array({ maxLength: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
        const data = [...signed.data];
        for (const { at, remove, insert } of edits) data.splice(at % (data.length + 1), remove, ...insert);
        const changed = Uint8Array.from(data);
        // A change that is accepted changed the message, and with it the Statement.
        if ((await open(changed)) === undefined && toHex(changed) !== toHex(signed.data)) {
          const [before, after] = [signed.data, changed].map((bytes) =>
            openRequest(SuspendSchema, signData(signed.type, bytes, key)),
          );
          expect(after?.message).not.toEqual(before?.message);
          expect(after?.id).not.toEqual(before?.id);
        }
      }),
      { numRuns: 300 },
    );
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), async (data) => {
        expect(await open(data)).toBeDefined();
      }),
    );
  });
});

describe("opening an answer", () => {
  test("gives what it says", () => {
    const opened = openAnswer(EventSchema, signedEvent);
    expect(opened.header.issuedAt).toBe(1_780_000_000n);
    expect(opened.message.event).toBe(EventType.PURGE);
    expect(opened.id).toEqual(statementId(signedEvent));
  });

  test("ignores unknown fields at every depth and does not keep them", () => {
    const extra = new BinaryWriter().tag(99, WireType.Varint).uint32(1).finish();
    const header = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(extra).finish();
    const opened = openAnswer(
      EventSchema,
      signData(EventSchema.typeName, concatBytes(signedEvent.data, extra, header), key),
    );
    expect(opened.message).toEqual(openAnswer(EventSchema, signedEvent).message);
  });

  test("needs a header", async () => {
    const data = new BinaryWriter().tag(10, WireType.Varint).uint64(1n).finish();
    expect(await refusalOf(() => openAnswer(EventSchema, signData(EventSchema.typeName, data, key)))).toEqual({
      reason: "FIELD_INVALID",
      metadata: { field: "header", rule: "required" },
    });
  });

  test("refuses what it cannot read", async () => {
    const open = (statement: Statement) => refusalOf(() => openAnswer(EventSchema, statement, { field: "events[3]" }));
    expect(await open(signed)).toMatchObject({ reason: "TYPE_MISMATCH", metadata: { field: "events[3]" } });
    expect(await open(change(signedEvent, { version: "2.0" }))).toMatchObject({ reason: "VERSION_UNSUPPORTED" });
    expect(await open(signData(signedEvent.type, signedEvent.data.slice(0, -1), key))).toMatchObject({
      reason: "MALFORMED",
    });
  });

  test("is not for requests", () => {
    expect(() => openAnswer(SuspendSchema, signed)).toThrow(TypeError);
  });
});

describe("opening anything", () => {
  test("goes by the type", () => {
    expect(openAny(contract, signed)).toEqual(openRequest(SuspendSchema, signed));
    expect(openAny(contract, signedEvent)).toEqual(openAnswer(EventSchema, signedEvent));
  });

  test("is as strict as the kind of message", async () => {
    const doubled = signData(signed.type, concatBytes(signed.data, fromHex("1a0161") ?? new Uint8Array()), key);
    expect(await refusalOf(() => openAny(contract, doubled))).toMatchObject({ reason: "NOT_CANONICAL" });
  });

  test.each(["", "omi.registry.v1.Unheard", "omi.registry.v1.App", "google.protobuf.Any"])(
    "refuses type %j",
    async (type) => {
      const refusal = await refusalOf(() => openAny(contract, signData(type, signed.data, key), { field: "x" }));
      expect(refusal).toMatchObject(
        type === ""
          ? { reason: "FIELD_INVALID", metadata: { field: "x.type" } }
          : { reason: "TYPE_MISMATCH", metadata: { field: "x", expected: "*" } },
      );
    },
  );
});

describe("verifying", () => {
  const opened = openRequest(SuspendSchema, signed, { field: "developer_proof" });

  test("accepts the signer's signature", async () => {
    expect(await refusalOf(() => verifySignature(opened, key.publicKey))).toBeUndefined();
    expect(await refusalOf(() => verifySignature(openAnswer(EventSchema, signedEvent), key.publicKey))).toBeUndefined();
  });

  test("refuses another key than the header names", async () => {
    expect(await refusalOf(() => verifySignature(opened, other.publicKey))).toEqual({
      reason: "SIGNER_UNKNOWN",
      metadata: { field: "developer_proof.header.signer" },
    });
  });

  test("refuses another signature", async () => {
    const forged = openRequest(SuspendSchema, change(signed, { signature: other.sign(opened.signingInput) }));
    expect(await refusalOf(() => verifySignature(forged, key.publicKey))).toEqual({
      reason: "SIGNATURE_INVALID",
      metadata: { field: "statement" },
    });
  });

  test("refuses a key of small order that is named and signs anything", async () => {
    const neutral = new Uint8Array(32).fill(1, 0, 1);
    const fake = { ...other, publicKey: neutral, sign: () => concatBytes(neutral, new Uint8Array(32)) };
    const statement = signStatement(SuspendSchema, suspension, { ...fake, keyId: keyIdOf(neutral) });
    const refusal = await refusalOf(() => verifySignature(openRequest(SuspendSchema, statement), neutral));
    expect(refusal).toMatchObject({ reason: "SIGNATURE_INVALID" });
  });
});
