import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { ServiceAnswerSchema, ServiceStatus } from "../../../gen/omi/registry/v1/service_pb.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { createSigningKey, sha256 } from "../../../src/statement/crypto.ts";
import { openAnswer } from "../../../src/statement/statement.ts";
import { FakeClock } from "../../support/clock.ts";
import { registryDomain, startRegistry, testDirectory } from "../../support/registry.ts";

/** The contract, of which vendors generate their clients. */
export const contract = fileURLToPath(new URL("../../../proto", import.meta.url));

/** The test vectors. */
export const vectors = fileURLToPath(new URL("../../vectors", import.meta.url));

const provider = "vendor.test";

/**
 * Has a vendor's program check the vectors and bind a service of its own making to an app of its own making, and looks at
 * what the registry holds then.
 *
 * @param folder for the file that tells the program what to use
 * @param start starts the program with its arguments; what it returns is the program's standard output
 */
export async function expectVendorToWork(
  folder: string,
  start: (args: readonly string[]) => Promise<string>,
): Promise<void> {
  const providerSeed = sha256(new TextEncoder().encode(provider));
  const registry = await startRegistry({
    clock: new FakeClock(Math.floor(Date.now() / 1000)),
    directory: testDirectory({ [provider]: createSigningKey(providerSeed) }),
  });
  const settings = join(folder, "settings.json");
  writeFileSync(
    settings,
    JSON.stringify({
      registry: registryDomain,
      registry_key: toHex(registry.key.publicKey),
      address: new URL(registry.url).host,
      provider,
      provider_seed: toHex(providerSeed),
      endpoint: `http://articles.${provider}`,
    }),
  );

  const outcome = JSON.parse(await start([vectors, settings]));

  expect(outcome).toMatchObject({
    vectors: numberOfVectors(),
    refusals: ["REASON_SERVICE_ID_TAKEN", "REASON_SERVICE_UNKNOWN"],
  });
  const { answer } = await registry.resolver.resolveService({ appId: outcome.appId, serviceId: "articles" });
  if (answer === undefined) throw new Error("no answer");
  expect(openAnswer(ServiceAnswerSchema, answer).message.service).toMatchObject({
    provider,
    status: ServiceStatus.ACTIVE,
    endpointUrl: `http://articles.${provider}`,
    keys: [{ keyId: outcome.keyId }],
  });
}

function numberOfVectors(): number {
  const kinds = ["ed25519", "canonical", "statement"].flatMap((room) => [`${room}/valid`, `${room}/invalid`]);
  const files = kinds.reduce((count, kind) => count + readdirSync(join(vectors, kind)).length, 0);
  return files + JSON.parse(readFileSync(join(vectors, "ed25519/wycheproof.json"), "utf8")).cases.length;
}
