import { describe, expect, test } from "vitest";
import { type DirectoryEntry, Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { Reason } from "../../src/core/refusal.ts";
import { createDirectory, type DirectoryOptions } from "../../src/directory/directory.ts";
import { parseEntry } from "../../src/directory/entry.ts";
import { wellKnownRoute } from "../../src/directory/well-known.ts";
import { createDialer } from "../../src/rpc/client/dial.ts";
import type { HttpRoute } from "../../src/rpc/http/http-routes.ts";
import { FakeClock } from "../support/clock.ts";
import { testKey } from "../support/keys.ts";
import { documentRoute, entryJson, meshCa, meshDialer, refusalOf, startParty } from "./support.ts";

const domain = "article.mesh.test";
const json = entryOf(domain);

function entryOf(of: string) {
  const keys = [{ publicKey: testKey(of).publicKey, algorithm: KeyAlgorithm.ED25519 }];
  return entryJson({ domain: of, party: Party.SERVICE_PROVIDER, baseUrl: `https://${of}`, keys });
}

async function directoryWith(route: HttpRoute, options: Partial<DirectoryOptions> = {}) {
  const clock = new FakeClock();
  const dialer = meshDialer(await startParty({ httpRoutes: [route] }));
  return { clock, directory: createDirectory({ entries: [], dialer, clock, ...options }) };
}

describe("a domain without a preset entry", () => {
  test("says what it is at its well-known path", async () => {
    const entry = parseEntry(json, { from: "discovered" });
    const { directory } = await directoryWith(wellKnownRoute(() => entry));
    expect(await directory.lookup(domain)).toEqual(entry);
  });

  test("is asked once for many lookups, and again when five minutes have passed", async () => {
    const route = documentRoute(() => JSON.stringify(json));
    const { directory, clock } = await directoryWith(route);
    await Promise.all([directory.lookup(domain), directory.lookup(domain)]);
    clock.advance(299);
    await directory.lookup(domain);
    expect(route.served.count).toBe(1);
    clock.advance(1);
    await directory.lookup(domain);
    expect(route.served.count).toBe(2);
  });

  test("is asked again when the clock was set back", async () => {
    const route = documentRoute(() => JSON.stringify(json));
    const { directory, clock } = await directoryWith(route);
    await directory.lookup(domain);
    clock.advance(-3600);
    await directory.lookup(domain);
    expect(route.served.count).toBe(2);
  });

  test("is left alone for 30 seconds when it failed", async () => {
    let body = "no JSON";
    const route = documentRoute(() => body);
    const { directory, clock } = await directoryWith(route);
    await refusalOf(directory.lookup(domain));
    body = JSON.stringify(json);
    const refusal = await refusalOf(directory.lookup(domain));
    expect(refusal).toMatchObject({ reason: Reason.PROVIDER_UNKNOWN, metadata: { domain } });
    expect(route.served.count).toBe(1);
    clock.advance(30);
    expect((await directory.lookup(domain)).domain).toBe(domain);
  });

  test.each<[string, HttpRoute]>([
    ["is about another domain", documentRoute(() => JSON.stringify(entryOf("crm.mesh.test")))],
    ["is no JSON", documentRoute(() => "{")],
    ["is too large", documentRoute(() => JSON.stringify({ ...(json as object), more: "x".repeat(70_000) }))],
    [
      "is elsewhere",
      {
        ...documentRoute(() => ""),
        handler: () => ({ status: 302, headers: { location: "https://crm.mesh.test/.well-known/omi" }, body: "" }),
      },
    ],
    [
      "is a web page",
      { ...documentRoute(() => ""), handler: () => ({ headers: { "content-type": "text/html" }, body: "<html>" }) },
    ],
  ])("is unknown if its document %s", async (_, route) => {
    const { directory } = await directoryWith(route);
    expect((await refusalOf(directory.lookup(domain))).reason).toBe(Reason.PROVIDER_UNKNOWN);
  });

  test("is not asked at an address that is not public", async () => {
    const route = documentRoute(() => JSON.stringify(json));
    const [, port] = (await startParty({ httpRoutes: [route] })).split(":");
    const lookup = async () => [{ address: "127.0.0.1", family: 4 }];
    const dialer = createDialer({ lookup, ca: meshCa });
    const directory = createDirectory({ entries: [], dialer, clock: new FakeClock() });
    expect(port).not.toBe("443");
    const refusal = await refusalOf(directory.lookup(domain));
    expect(refusal.reason).toBe(Reason.PROVIDER_UNKNOWN);
    expect(refusal.cause).toMatchObject({ reason: Reason.ADDRESS_NOT_ALLOWED });
    expect(route.served.count).toBe(0);
  });

  test("is not asked if it is not allowed, or is no domain", async () => {
    const route = documentRoute(() => JSON.stringify(json));
    const { directory } = await directoryWith(route, { allowedDomains: ["crm.mesh.test"] });
    for (const name of [domain, "mesh", "127.0.0.1", "a.mesh.test:80", "a.mesh.test/x"]) {
      expect((await refusalOf(directory.lookup(name))).reason).toBe(Reason.PROVIDER_UNKNOWN);
    }
    expect(route.served.count).toBe(0);
  });
});

test("a preset entry wins over what the domain says", async () => {
  const route = documentRoute(() => JSON.stringify(json));
  const preset: DirectoryEntry = parseEntry(
    entryJson({ domain, party: Party.AUTH_PROVIDER, baseUrl: `https://rpc.${domain}` }),
    { from: "preset" },
  );
  const { directory } = await directoryWith(route, { entries: [preset] });
  expect(await directory.lookup(domain)).toBe(preset);
  expect(route.served.count).toBe(0);
});

test("a domain that is known is asked again however many unknown ones were asked", async () => {
  const route = documentRoute(() => JSON.stringify(json));
  const { directory, clock } = await directoryWith(route);
  await directory.lookup(domain);
  clock.advance(300);
  await Promise.all(Array.from({ length: 130 }, (_, i) => refusalOf(directory.lookup(`d${i}.mesh.test`))));
  expect((await refusalOf(directory.lookup("d130.mesh.test"))).reason).toBe(Reason.RATE_LIMITED);
  expect((await directory.lookup(domain)).domain).toBe(domain);
  expect(route.served.count).toBe(122);
});

test("unknown domains are asked at most 120 times a minute, known ones keep being found", async () => {
  const preset = parseEntry(json, { from: "preset" });
  const { directory, clock } = await directoryWith(
    documentRoute(() => "{"),
    { entries: [preset] },
  );
  const lookups = Array.from({ length: 130 }, (_, i) => refusalOf(directory.lookup(`d${i}.mesh.test`)));
  const reasons = (await Promise.all(lookups)).map(({ reason }) => reason);
  expect(reasons.filter((reason) => reason === Reason.RATE_LIMITED)).toHaveLength(10);
  expect(await directory.lookup(domain)).toBe(preset);
  clock.advance(60);
  expect((await refusalOf(directory.lookup("d130.mesh.test"))).reason).toBe(Reason.PROVIDER_UNKNOWN);
});
