import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { appIdHash, formatAppId, MAX_APP_ID_LENGTH, parseAppId } from "../../src/core/app-id.ts";

const LONGEST_DOMAIN = `${"a.".repeat(125)}abc`;

describe("an AppID", () => {
  test("is read from the right", () => {
    expect(parseAppId("org.omiappreg.alice.business_app.7f8a9d")).toEqual({
      registryDomain: "omiappreg.org",
      namespace: "alice",
      slug: "business_app",
      hash: "7f8a9d",
    });
    expect(parseAppId("uk.co.registry.eu.alice.shop.000000")?.registryDomain).toBe("eu.registry.co.uk");
  });

  test.each([
    "",
    "7f8a9d",
    "alice.shop.7f8a9d",
    "org.alice.shop.7f8a9d", // a registry of one label
    "org.omiappreg.alice.shop.7F8A9D",
    "org.omiappreg.alice.shop.7f8a9",
    "org.omiappreg.alice.shop.7f8a9d0",
    "org.omiappreg.alice.shop.7f8a9g",
    "org.omiappreg.alice.shop",
    "org.omiappreg.Alice.shop.7f8a9d",
    "org.omiappreg.alice.s.7f8a9d",
    "org.omiappreg.a.shop.7f8a9d",
    "org.omiappreg.alice..7f8a9d",
    "org..omiappreg.alice.shop.7f8a9d",
    ".org.omiappreg.alice.shop.7f8a9d",
    "org.omiappreg.alice.shop.7f8a9d.",
    "org.omiappreg.alice.shop.7f8a9d\n",
    "org.omi_appreg.alice.shop.7f8a9d",
    "1.0.0.127.alice.shop.7f8a9d",
  ])("is not %j", (text) => {
    expect(parseAppId(text)).toBeUndefined();
  });

  test("has a greatest length", () => {
    const longest = formatAppId({
      registryDomain: LONGEST_DOMAIN,
      namespace: "n".repeat(32),
      slug: "s".repeat(63),
      hash: "000000",
    });
    expect(longest).toHaveLength(MAX_APP_ID_LENGTH);
    expect(parseAppId(longest)?.registryDomain).toBe(LONGEST_DOMAIN);
    expect(parseAppId("a.".repeat(1_000_000))).toBeUndefined();
  });

  test("is written as it is read", () => {
    const label = fc.stringMatching(/^[a-z][a-z0-9]{1,10}$/);
    const parts = fc.record({
      registryDomain: fc.array(label, { minLength: 2, maxLength: 5 }).map((labels) => labels.join(".")),
      namespace: fc.stringMatching(/^[a-z][a-z0-9]{1,5}(?:[_-][a-z0-9]{1,5})?$/),
      slug: fc.stringMatching(/^[a-z][a-z0-9]{1,5}(?:[_-][a-z0-9]{1,5})?$/),
      hash: fc.stringMatching(/^[0-9a-f]{6}$/),
    });
    fc.assert(
      fc.property(parts, (appId) => {
        expect(parseAppId(formatAppId(appId))).toEqual(appId);
      }),
    );
  });
});

test("the hash is the beginning of the manifest's digest", () => {
  expect(appIdHash(new Uint8Array([0x7f, 0x8a, 0x9d, 0xff, ...new Uint8Array(28)]))).toBe("7f8a9d");
});
