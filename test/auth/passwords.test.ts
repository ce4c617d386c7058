import { describe, expect, test } from "vitest";
import { DEFAULT_PASSWORD_COST, hashPassword, hasOtherCost, verifyPassword } from "../../src/auth/password.ts";
import { Passwords } from "../../src/auth/passwords.ts";
import { testBytes } from "../support/keys.ts";
import { cheapHash, outcomeOf } from "./support.ts";

describe("a password hash", () => {
  test("is a PHC string that holds its cost and its salt", async () => {
    const phc = await hashPassword("correct horse", cheapHash, testBytes);
    expect(phc).toMatch(/^\$argon2id\$v=19\$m=8,t=1,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(await hashPassword("correct horse", cheapHash, testBytes)).not.toBe(phc);
    expect(await verifyPassword("correct horse", phc)).toBe(true);
    expect(await verifyPassword("correct horse ", phc)).toBe(false);
    expect(await verifyPassword("", phc)).toBe(false);
  });

  test("is verified at the cost that it was made at", async () => {
    const cost = { memoryKib: 64, passes: 3, parallelism: 2 };
    const phc = await hashPassword("password", cost, testBytes);
    expect(await verifyPassword("password", phc)).toBe(true);
    expect(hasOtherCost(phc, cost)).toBe(false);
    expect(hasOtherCost(phc, DEFAULT_PASSWORD_COST)).toBe(true);
  });

  test.each([
    "",
    "password",
    "$argon2i$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "$argon2id$v=16$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "$argon2id$v=19$m=0,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA",
    "$argon2id$v=19$m=99999999,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
  ])("is nothing else: %j", async (text) => {
    await expect(verifyPassword("password", text)).rejects.toThrow(Error);
  });
});

describe("checking passwords", () => {
  test("offers a better hash only for the right password at another cost", async () => {
    const phc = await hashPassword("correct horse", cheapHash, testBytes);
    const same = new Passwords(cheapHash, testBytes);
    expect(await same.check("correct horse", phc)).toEqual({ correct: true });
    const dearer = new Passwords({ ...cheapHash, passes: 2 }, testBytes);
    expect(await dearer.check("wrong", phc)).toEqual({ correct: false });
    const { correct, betterHash = "" } = await dearer.check("correct horse", phc);
    expect(correct).toBe(true);
    expect(await dearer.check("correct horse", betterHash)).toEqual({ correct: true });
  });

  test("never finds an unknown user's password right, not even the dummy's", async () => {
    const passwords = new Passwords(cheapHash, testBytes);
    await passwords.prepare();
    expect(await passwords.check("", undefined)).toEqual({ correct: false });
  });

  test("is bounded: what exceeds the queue is refused at once, and the rest is done", async () => {
    const passwords = new Passwords(cheapHash, testBytes);
    const outcomes = await Promise.all(Array.from({ length: 80 }, () => outcomeOf(passwords.check("x", undefined))));
    expect(outcomes.filter((outcome) => outcome === "ok")).toHaveLength(66);
    expect(outcomes.filter((outcome) => outcome === "OVERLOADED")).toHaveLength(14);
    expect(await outcomeOf(passwords.check("x", undefined))).toBe("ok");
  });
});
