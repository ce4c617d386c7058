import { chmodSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { KeyFileError } from "../../src/core/key-file.ts";
import { generateSigningKey, loadSigningKey, saveSigningKey } from "../../src/developer/signing-key.ts";
import { temporaryFolder } from "../support/files.ts";
import { testBytes, testKey } from "../support/keys.ts";

function savedKey() {
  const path = join(temporaryFolder(), "master.json");
  const key = generateSigningKey(testBytes);
  saveSigningKey(path, KeyRole.MASTER, key);
  return { path, key };
}

/** Changes the JSON of a key file. */
function edit(path: string, change: Record<string, unknown>): void {
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...change }));
}

describe("a key file", () => {
  test("gives the key back, and only its owner can read it", () => {
    const { path, key } = savedKey();
    expect(loadSigningKey(path, KeyRole.MASTER).keyId).toBe(key.keyId);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("is never overwritten", () => {
    const { path, key } = savedKey();
    expect(() => saveSigningKey(path, KeyRole.MASTER, testKey("another"))).toThrow(KeyFileError);
    expect(loadSigningKey(path, KeyRole.MASTER).keyId).toBe(key.keyId);
    const link = `${path}.link`;
    symlinkSync(join(path, "..", "nowhere"), link);
    expect(() => saveSigningKey(link, KeyRole.MASTER, testKey("another"))).toThrow(KeyFileError);
  });

  test.each([0o644, 0o640, 0o604, 0o620])("is refused with mode %o", (mode) => {
    const { path } = savedKey();
    chmodSync(path, mode);
    expect(() => loadSigningKey(path, KeyRole.MASTER)).toThrow(KeyFileError);
  });

  test.each<[string, Record<string, unknown>]>([
    ["another role", { role: "guardian" }],
    ["no role", { role: undefined }],
    ["another algorithm", { algorithm: "rsa" }],
    ["a seed that is too short", { seed: "AAAA" }],
    ["a seed that is no base64url", { seed: "+".repeat(43) }],
    ["a public key that is not its own", { public_key: `${"B".repeat(42)}A` }],
    ["a key ID that is not its own", { key_id: testKey("another").keyId }],
  ])("is refused with %s", (_, change) => {
    const { path } = savedKey();
    edit(path, change);
    expect(() => loadSigningKey(path, KeyRole.MASTER)).toThrow(KeyFileError);
  });

  test.each(["", "{", "[]", "null", "x".repeat(5000)])("is refused if it holds %j", (text) => {
    const { path } = savedKey();
    writeFileSync(path, text);
    expect(() => loadSigningKey(path, KeyRole.MASTER)).toThrow(KeyFileError);
  });

  test("does not show what is in it when it is refused", () => {
    const { path } = savedKey();
    const seed = "c2VjcmV0LXNlZWQ";
    writeFileSync(path, `{"seed": "${seed}", `);
    try {
      loadSigningKey(path, KeyRole.MASTER);
      expect.fail("it was accepted");
    } catch (error) {
      expect(JSON.stringify([String(error), (error as Error).cause ?? ""])).not.toContain(seed);
    }
  });

  test.each(["missing.json", "."])("is refused at the path %s", (name) => {
    expect(() => loadSigningKey(join(temporaryFolder(), name), KeyRole.MASTER)).toThrow(KeyFileError);
  });
});
