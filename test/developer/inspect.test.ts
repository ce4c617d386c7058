import { readdirSync, readFileSync } from "node:fs";
import { create, ScalarType, toBinary, toJsonString } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { type Statement, StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { fromHex, toBase64Url, toHex } from "../../src/core/bytes.ts";
import { Reason } from "../../src/core/refusal.ts";
import { type Inspection, inspect, isSound } from "../../src/developer/inspect.ts";
import { readStatement } from "../../src/developer/read-statement.ts";
import { readable } from "../../src/developer/readable.ts";
import { firstOf, givenKey, keyOfMesh, ownKey } from "../../src/developer/signer-key.ts";
import { refusalOf } from "../directory/support.ts";
import { contract } from "../statement/contract.ts";
import { announcementOf, present, registerTestApp } from "../support/developer.ts";
import { testKey } from "../support/keys.ts";
import { providers } from "../support/registry.ts";
import { startApp, startMesh } from "./support.ts";

const folder = new URL("../vectors/statement/", import.meta.url);

function vectors(kind: "valid" | "invalid") {
  return readdirSync(new URL(`${kind}/`, folder)).map((name) => {
    const text = readFileSync(new URL(`${kind}/${name}`, folder), "utf8");
    return { name, text, vector: JSON.parse(text) as Record<string, string> };
  });
}

describe("a Statement is read", () => {
  const { text, vector } = present(vectors("valid").find(({ name }) => name === "service_binding.json"));
  const statement = readStatement(text);
  const binary = toBinary(StatementSchema, statement);
  const json = toJsonString(StatementSchema, statement);

  test.each<[string, Uint8Array | string]>([
    ["a test vector", text],
    ["binary", binary],
    ["hex", toHex(binary)],
    ["hex in capitals with white space around", ` ${toHex(binary).toUpperCase()}\n`],
    ["base64", Buffer.from(binary).toString("base64")],
    ["base64url", toBase64Url(binary)],
    ["JSON", json],
    ["the bytes of a JSON file", Buffer.from(json)],
    ["an RPC's response", `{"configEpoch": "3", "answer": ${json}}`],
  ])("from %s", (_, input) => {
    expect(readStatement(input)).toEqual(statement);
    expect(toHex(statement.data)).toBe(vector.data);
  });

  test.each(["", "{}", "[]", "hello world", "zz", "00", '{"type": 1, "data": "AA"}'])(
    "but not from %j",
    async (input) => {
      expect((await refusalOf(() => readStatement(input))).reason).toBe(Reason.MALFORMED);
    },
  );
});

test.each(vectors("valid"))("the vector $name is sound", async ({ text, vector }) => {
  const publicKey = present(fromHex(present(vector.public_key)));
  const found = await inspect(readStatement(text), { findKey: firstOf(givenKey(publicKey), ownKey) });
  expect(found).toMatchObject({
    statement_id: vector.statement_id,
    form: { status: "valid" },
    signature: { status: "valid", key_from: "given" },
  });
  expect(isSound(found)).toBe(true);
});

test.each(vectors("invalid"))("the vector $name is not", async ({ text, vector }) => {
  const publicKey = present(fromHex(present(vector.public_key)));
  const found = await inspect(readStatement(text), { findKey: givenKey(publicKey) }).catch((error) => error.reason);
  const sound = isSound(found) && found.signature.status === "valid" && found.type === vector.expected_type;
  expect(sound).toBe(false);
});

describe("in a mesh", () => {
  /** All Statements that the log shows, of a mesh in which everything happened. */
  async function everything() {
    const mesh = await startMesh();
    const { developer, registry, connections } = mesh;
    const appId = await startApp(mesh);
    await developer.provisionAuth({ appId, provider: providers.auth.domain });
    const order = { appId, provider: providers.article.domain, serviceType: "cms-article" };
    const { serviceId } = await developer.provisionService(order);
    await developer.updateBackbone({ appId, services: [] });
    const { entries } = await registry.log.readLog({});
    return { ...mesh, appId, serviceId, entries, find: keyOfMesh(connections) };
  }

  test("every Statement of the log, of the answers and of the events verifies", async () => {
    const { entries, connections, find, appId, serviceId } = await everything();
    const client = connections.registries.forApp(appId);
    const statements: Statement[] = [
      ...entries.flatMap(({ statement }) => statement ?? []),
      (await client.resolveApp(appId)).statement,
      (await client.resolveService(appId, serviceId)).statement,
      ...(await client.listEvents(appId, 0n)).map(({ statement }) => statement),
      (await client.getHeads([appId])).statement,
    ];
    const { allowPlainHttp } = connections;
    for (const statement of statements) {
      const found = await inspect(statement, { findKey: firstOf(ownKey, find), allowPlainHttp });
      expect([found.type, found.form.status, found.signature.status]).toEqual([found.type, "valid", "valid"]);
    }
  });

  test("nested Statements are opened", async () => {
    const { registry, clock, connections, find } = await everything();
    const announcement = announcementOf(clock, await registerTestApp(registry));
    const { allowPlainHttp } = connections;
    const found = await inspect(announcement, { findKey: firstOf(ownKey, find), allowPlainHttp });
    const { provider_answer: answer } = found.message as unknown as { provider_answer: Inspection };
    expect(answer.signature).toMatchObject({ status: "valid", signer: providers.auth.key.keyId });
    const { auth_key_possession: possession } = answer.message as unknown as { auth_key_possession: Inspection };
    expect(possession.signature).toMatchObject({ status: "valid", key_from: "the statement itself" });
  });

  test("a signature by a key that the mesh does not know remains unknown", async () => {
    const { entries, find, connections } = await everything();
    const manifest = present(entries.find(({ statement }) => statement?.type.endsWith("AppManifest"))?.statement);
    const wrong = await inspect({ ...manifest, signature: new Uint8Array(64) }, { findKey: find });
    expect(wrong.signature.status).toBe("invalid");
    expect(isSound(wrong)).toBe(false);
    const given = await inspect(manifest, { findKey: givenKey(testKey("another").publicKey) });
    expect(given.signature.status).toBe("unknown");
    connections.close();
  });

  test("says why a key could not be asked for", async () => {
    const { entries, find, registry } = await everything();
    await registry.stop();
    const manifest = present(entries.find(({ statement }) => statement?.type.endsWith("AppManifest"))?.statement);
    const found = await inspect(manifest, { findKey: find });
    expect(found.signature).toMatchObject({ status: "unknown", fault: { reason: "REGISTRY_UNAVAILABLE" } });
  });
});

test("times, keys and enums are readable", async () => {
  const vector = present(vectors("valid").find(({ name }) => name === "terminate.json"));
  const { message } = await inspect(readStatement(vector.text));
  expect(message).toMatchObject({
    header: { timestamp: expect.stringMatching(/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) },
    data_handling: expect.stringMatching(/^DATA_HANDLING_/),
  });
  const possession = present(vectors("valid").find(({ name }) => name === "key_possession.json"));
  expect((await inspect(readStatement(possession.text))).message).toMatchObject({
    public_key: { key_id: expect.stringMatching(/^.{43}$/), public_key: expect.stringMatching(/^.{43}$/) },
  });
});

test.each(
  [...contract]
    .filter((type) => type.kind === "message")
    .filter((message) => message.file.proto.package !== "omi.options.v1")
    .flatMap((message) => message.fields)
    .filter((field) => field.scalar === ScalarType.INT64 && field.fieldKind === "scalar")
    .map((field) => [`${field}`, field] as const),
)("%s is a time in Unix seconds, and shown as one", async (_, field) => {
  const message = create(field.parent, { [field.localName]: 1_790_000_000n });
  const options = { showStatement: async () => null, withEmpty: false };
  expect(await readable(field.parent, message, options)).toEqual({ [field.name]: "2026-09-21T14:13:20Z" });
});
