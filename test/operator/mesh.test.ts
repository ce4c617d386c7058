import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ConfigError } from "../../src/core/config.ts";
import { meshSize, prepareMesh } from "../../src/operator/mesh.ts";
import { temporaryFolder } from "../support/files.ts";
import { testBytes, testKey } from "../support/keys.ts";

const vendor = {
  domain: "vendor.test",
  party: "PARTY_SERVICE_PROVIDER",
  baseUrl: "http://vendor.test",
  keys: [
    {
      publicKey: Buffer.from(testKey("provider vendor.test").publicKey).toString("base64"),
      algorithm: "KEY_ALGORITHM_ED25519",
    },
  ],
};

function prepare(folder: string, firstPort = 7100) {
  const ports = Array.from({ length: meshSize }, (_, index) => firstPort + index);
  return prepareMesh(folder, { ports, random: testBytes });
}

function json(path: string) {
  return JSON.parse(readFileSync(path, "utf8"));
}

test("parties that were added to the client configuration are known to every part from the next start on", () => {
  const folder = temporaryFolder();
  const { clientFile } = prepare(folder);
  const before = json(clientFile);
  writeFileSync(
    clientFile,
    JSON.stringify({
      ...before,
      directory: [...before.directory, vendor],
      hosts: { ...before.hosts, "*.vendor.test": "127.0.0.1:9000" },
    }),
  );

  const { members } = prepare(folder, 7200);

  const after = json(clientFile);
  expect(after.directory).toEqual([...before.directory, vendor]);
  expect(after.hosts).toMatchObject({ "omi-registry.test": "127.0.0.1:7200", "*.vendor.test": "127.0.0.1:9000" });
  for (const { configFile } of members) expect(json(configFile).mesh).toEqual(after);
});

test("a client configuration with a mistake is refused before anything is written", () => {
  const folder = temporaryFolder();
  const { clientFile } = prepare(folder);
  const { directory, ...rest } = json(clientFile);
  writeFileSync(clientFile, JSON.stringify({ ...rest, directory: [...directory, { ...vendor, domain: "Vendor" }] }));
  const before = json(join(folder, "registry", "config.json"));

  expect(() => prepare(folder, 7200)).toThrow(ConfigError);
  expect(json(join(folder, "registry", "config.json"))).toEqual(before);
});
