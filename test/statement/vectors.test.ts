import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { create, type DescMessage, fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import type { AnswerHeader, Header } from "../../gen/omi/statement/v1/statement_pb.ts";
import { StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { fromHex, toHex } from "../../src/core/bytes.ts";
import { isRefusal, reasonName } from "../../src/core/refusal.ts";
import { decodeCanonical } from "../../src/statement/canonical.ts";
import type { StatementCrypto } from "../../src/statement/crypto.ts";
import * as nodeCrypto from "../../src/statement/crypto-node.ts";
import * as portableCrypto from "../../src/statement/crypto-portable.ts";
import { headerKindOf } from "../../src/statement/header.ts";
import { type Opened, openAnswer, openRequest, verifySignature } from "../../src/statement/statement.ts";
import { jwkThumbprint } from "../../src/statement/thumbprint.ts";
import { FOLDERS, generateFiles, VECTORS } from "../vectors/generate.ts";
import { contract } from "./contract.ts";

type Vector = Record<string, string> & { message: JsonValue };

const implementations: [string, StatementCrypto][] = [
  ["node", nodeCrypto],
  ["portable", portableCrypto],
];

test("the files are what the generator writes", () => {
  const generated = generateFiles();
  const written = FOLDERS.flatMap((folder) =>
    readdirSync(join(VECTORS, folder)).map((name): [string, string] => [
      `${folder}/${name}`,
      readFileSync(join(VECTORS, folder, name), "utf8"),
    ]),
  );
  expect(new Map(written)).toEqual(generated);
});

describe.each(implementations)("ed25519 vectors, %s", (_, crypto) => {
  test.each(vectors("ed25519/valid"))("accepts %s", async (_name, vector) => {
    const [publicKey, message, signature] = signatureOf(vector);
    expect(crypto.publicKeyProblem(publicKey)).toBeUndefined();
    expect(await crypto.verify(publicKey, message, signature)).toBe(true);
    if (vector.seed !== undefined) {
      const key = crypto.createSigningKey(bytes(vector.seed));
      expect(toHex(key.publicKey)).toBe(vector.public_key);
      expect(toHex(key.sign(message))).toBe(vector.signature);
    }
  });

  test.each(vectors("ed25519/invalid"))("refuses %s", async (_name, vector) => {
    const [publicKey, message, signature] = signatureOf(vector);
    expect(crypto.publicKeyProblem(publicKey) !== undefined).toBe(vector.step === "key");
    expect(await crypto.verify(publicKey, message, signature)).toBe(false);
  });

  test.each(wycheproof())("decides wycheproof case $case, $description", async (item) => {
    const [publicKey, message, signature] = signatureOf(item);
    expect(crypto.publicKeyProblem(publicKey)).toBeUndefined();
    expect(await crypto.verify(publicKey, message, signature)).toBe(item.valid);
  });
});

describe("canonical vectors", () => {
  test.each(vectors("canonical/valid"))("accepts %s", (_name, vector) => {
    const schema = schemaOf(vector.type);
    const decoded = decodeCanonical(schema, bytes(vector.data), "");
    expect(decoded).toEqual(fromJson(schema, vector.message));
  });

  test.each(vectors("canonical/invalid"))("refuses %s", (_name, vector) => {
    const schema = schemaOf(vector.type);
    expect(refusalOf(() => decodeCanonical(schema, bytes(vector.data), ""))).toMatchObject({ reason: vector.reason });
  });
});

describe("statement vectors", () => {
  test.each(vectors("statement/valid"))("accepts %s", async (name, vector) => {
    const schema = schemaOf(vector.type);
    const opened = open(schema, vector);
    expect(toHex(opened.id)).toBe(vector.statement_id);
    expect(toHex(opened.signingInput)).toBe(vector.signing_input);
    expect(opened.message).toEqual(fromJson(schema, vector.message));
    const encoded = toHex(toBinary(schema, fromJson(schema, vector.message)));
    expect(encoded === vector.data).toBe(!["event_with_unknown_field", "event_not_canonical"].includes(name));
    await verifySignature(opened, bytes(vector.public_key));
    for (const [, crypto] of implementations) await verifyWith(crypto, vector, opened.header);
  });

  test.each(vectors("statement/invalid"))("refuses %s", async (_name, vector) => {
    const schema = schemaOf(vector.expected_type);
    const { step, reason, field, rule } = vector;
    const expected = { reason, metadata: rule === undefined ? { field } : { field, rule } };
    if (step === "open") {
      expect(refusalOf(() => open(schema, vector))).toMatchObject(expected);
      return;
    }
    const opened = open(schema, vector);
    const refusal = await verifySignature(opened, bytes(vector.public_key)).then(() => undefined, describeRefusal);
    expect(refusal).toMatchObject(expected);
    if (reason === "SIGNATURE_INVALID") {
      for (const [, crypto] of implementations) {
        const [publicKey, , signature] = signatureOf({ ...vector, message: "" });
        expect(await crypto.verify(publicKey, bytes(vector.signing_input), signature)).toBe(false);
      }
    }
  });
});

async function verifyWith(crypto: StatementCrypto, vector: Vector, header: Header | AnswerHeader): Promise<void> {
  const publicKey = bytes(vector.public_key);
  const signingInput = bytes(vector.signing_input);
  expect(toHex(crypto.sha256(signingInput))).toBe(vector.statement_id);
  expect(jwkThumbprint(publicKey, crypto.sha256)).toBe(header.signer);
  expect(await crypto.verify(publicKey, signingInput, bytes(vector.signature))).toBe(true);
}

function open(schema: DescMessage, vector: Vector): Opened {
  const { version = "", type = "" } = vector;
  const statement = create(StatementSchema, {
    version,
    type,
    data: bytes(vector.data),
    signature: bytes(vector.signature),
  });
  return headerKindOf(schema) === "request" ? openRequest(schema, statement) : openAnswer(schema, statement);
}

function vectors(folder: string): [string, Vector][] {
  return readdirSync(join(VECTORS, folder)).map((name) => [
    name.replace(/\.json$/, ""),
    JSON.parse(readFileSync(join(VECTORS, folder, name), "utf8")),
  ]);
}

type WycheproofCase = {
  case: number;
  description: string;
  public_key: string;
  message: string;
  signature: string;
  valid: boolean;
};

function wycheproof(): WycheproofCase[] {
  return JSON.parse(readFileSync(join(VECTORS, "ed25519/wycheproof.json"), "utf8")).cases;
}

function signatureOf(vector: { public_key?: string; message: JsonValue; signature?: string }) {
  return [bytes(vector.public_key), bytes(String(vector.message)), bytes(vector.signature)] as const;
}

function schemaOf(type: string | undefined): DescMessage {
  const schema = contract.getMessage(type ?? "");
  if (schema === undefined) throw new Error(`the contract has no ${type}`);
  return schema;
}

function bytes(hex: string | undefined): Uint8Array {
  const decoded = fromHex(hex ?? "?");
  if (decoded === undefined) throw new Error(`not hex: ${hex}`);
  return decoded;
}

function refusalOf(act: () => unknown) {
  try {
    act();
  } catch (error) {
    return describeRefusal(error);
  }
  return undefined;
}

function describeRefusal(error: unknown) {
  if (!isRefusal(error)) throw error;
  return { reason: reasonName(error.reason), metadata: error.metadata };
}
