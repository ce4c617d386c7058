import { describe, expect, test } from "vitest";
import { SuspendSchema } from "../../gen/omi/registry/v1/service_pb.ts";
import { Reason } from "../../src/core/refusal.ts";
import { checkAudience } from "../../src/statement/audience.ts";
import { createSigningKey } from "../../src/statement/crypto.ts";
import { checkFreshness, DEFAULT_WINDOW, freshnessProblem } from "../../src/statement/freshness.ts";
import { openRequest, signStatement } from "../../src/statement/statement.ts";
import { refusalOf } from "./refusal.ts";

const SIGNED_AT = 1_780_000_000;
const key = createSigningKey(new Uint8Array(32).fill(1));
const statement = signStatement(
  SuspendSchema,
  {
    header: { audience: "registry.test", timestamp: BigInt(SIGNED_AT), nonce: new Uint8Array(16).fill(1) },
    appId: "test.registry.alice.shop.7f8a9d",
    serviceId: "articles",
  },
  key,
);
const outermost = openRequest(SuspendSchema, statement);
const nested = openRequest(SuspendSchema, statement, { field: "developer_proof" });

describe("freshness", () => {
  test.each([
    ["now", 0, undefined],
    ["at the end of the window", 300, undefined],
    ["after the window", 301, Reason.TIMESTAMP_TOO_OLD],
    ["as far ahead as allowed", -300, undefined],
    ["too far ahead", -301, Reason.TIMESTAMP_IN_FUTURE],
  ])("%s", (_, age, problem) => {
    expect(freshnessProblem(BigInt(SIGNED_AT), SIGNED_AT + age, DEFAULT_WINDOW)).toBe(problem);
  });

  test("has two sides", () => {
    const window = { pastSeconds: Number.POSITIVE_INFINITY, futureSeconds: 0 };
    expect(freshnessProblem(1n, SIGNED_AT, window)).toBeUndefined();
    expect(freshnessProblem(BigInt(SIGNED_AT) + 1n, SIGNED_AT, window)).toBe(Reason.TIMESTAMP_IN_FUTURE);
  });

  test("is bounded for every timestamp that a header may have", () => {
    expect(freshnessProblem(253_402_300_799n, SIGNED_AT, DEFAULT_WINDOW)).toBe(Reason.TIMESTAMP_IN_FUTURE);
    expect(freshnessProblem(2n ** 63n - 1n, SIGNED_AT, DEFAULT_WINDOW)).toBe(Reason.TIMESTAMP_IN_FUTURE);
    expect(freshnessProblem(-(2n ** 63n), SIGNED_AT, DEFAULT_WINDOW)).toBe(Reason.TIMESTAMP_TOO_OLD);
  });

  test("is refused with what it was compared with", async () => {
    expect(await refusalOf(() => checkFreshness(outermost, SIGNED_AT + 10))).toBeUndefined();
    expect(await refusalOf(() => checkFreshness(outermost, SIGNED_AT + 301))).toEqual({
      reason: "TIMESTAMP_TOO_OLD",
      metadata: { field: "header.timestamp", now: String(SIGNED_AT + 301), limit_seconds: "300" },
    });
    const window = { pastSeconds: 10, futureSeconds: 20 };
    expect(await refusalOf(() => checkFreshness(nested, SIGNED_AT - 21, window))).toEqual({
      reason: "TIMESTAMP_IN_FUTURE",
      metadata: { field: "developer_proof.header.timestamp", now: String(SIGNED_AT - 21), limit_seconds: "20" },
    });
  });
});

test("a request is for its audience alone", async () => {
  expect(await refusalOf(() => checkAudience(outermost, "registry.test"))).toBeUndefined();
  expect(await refusalOf(() => checkAudience(nested, "other.test"))).toEqual({
    reason: "AUDIENCE_MISMATCH",
    metadata: { field: "developer_proof.header.audience", expected: "other.test" },
  });
  expect(await refusalOf(() => checkAudience(outermost, "eu.registry.test"))).toMatchObject({
    reason: "AUDIENCE_MISMATCH",
  });
});
