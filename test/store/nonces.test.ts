import { expect, onTestFinished, test } from "vitest";
import { Reason, Refusal } from "../../src/core/refusal.ts";
import { openDatabase } from "../../src/store/database.ts";
import { Nonces, noncesMigration, type SpendableStatement } from "../../src/store/nonces.ts";

const now = 1_790_000_000;

function started() {
  const db = openDatabase(":memory:", [noncesMigration]);
  onTestFinished(() => void db.close());
  const count = db.prepare<[], number>("SELECT count(*) FROM nonces").pluck();
  return { nonces: new Nonces(db, 300), count: () => count.get() };
}

/** A statement; two with the same name have the same ID. */
function statement(name: number, header: Partial<SpendableStatement["header"]> = {}): SpendableStatement {
  return {
    id: new Uint8Array(32).fill(name),
    header: {
      audience: "omi-registry.test",
      signer: "alice",
      nonce: new Uint8Array(16).fill(7),
      timestamp: BigInt(now),
      ...header,
    },
  };
}

/** The Reason with which a statement is refused. */
function checked(nonces: Nonces, statement: SpendableStatement): Reason | undefined {
  try {
    nonces.check(statement);
    return undefined;
  } catch (error) {
    return error instanceof Refusal ? error.reason : expect.fail(String(error));
  }
}

test("a spent nonce is refused in any other statement of its signer, and not in its own", () => {
  const { nonces } = started();
  expect(checked(nonces, statement(1))).toBeUndefined();
  nonces.spend(statement(1), now);
  expect(checked(nonces, statement(1))).toBeUndefined();
  expect(checked(nonces, statement(2))).toBe(Reason.NONCE_REUSED);
  expect(checked(nonces, statement(2, { nonce: new Uint8Array(16).fill(8) }))).toBeUndefined();
});

test("another signer, or another audience, has nonces of its own", () => {
  const { nonces } = started();
  nonces.spend(statement(1), now);
  for (const other of [{ signer: "bob" }, { audience: "other-registry.test" }]) {
    expect(checked(nonces, statement(2, other))).toBeUndefined();
    nonces.spend(statement(2, other), now);
    expect(checked(nonces, statement(3, other))).toBe(Reason.NONCE_REUSED);
  }
});

test("spending a nonce twice is a bug, which the table finds", () => {
  const { nonces } = started();
  nonces.spend(statement(1), now);
  expect(() => nonces.spend(statement(2), now)).toThrow();
});

// A statement with this timestamp is fresh until `timestamp + 300`; a margin of 60 s covers what clocks disagree about.
test.each([
  ["on time", 0],
  ["from a slow clock", -300],
  ["from a fast clock", 300],
])("the nonce of a statement %s is known until that is too old to come back, and then forgotten", (_, offset) => {
  const { nonces } = started();
  nonces.spend(statement(1, { timestamp: BigInt(now + offset) }), now);
  const last = now + offset + 360;
  nonces.spend(statement(2, { signer: "bob" }), last);
  expect(checked(nonces, statement(3))).toBe(Reason.NONCE_REUSED);
  nonces.spend(statement(4, { signer: "carol" }), last + 1);
  expect(checked(nonces, statement(3))).toBeUndefined();
});

test("a signer's flood pushes nobody's nonce out", () => {
  const { nonces, count } = started();
  nonces.spend(statement(1), now);
  for (let i = 0; i < 2000; i++) {
    const nonce = new Uint8Array(16);
    new DataView(nonce.buffer).setUint32(0, i + 1);
    nonces.spend(statement(2, { signer: "mallory", nonce }), now);
  }
  expect(checked(nonces, statement(3))).toBe(Reason.NONCE_REUSED);
  expect(count()).toBe(2001);
});

test("forgetting keeps up with a flood that has become too old", () => {
  const { nonces, count } = started();
  const spend = (i: number, at: number) => {
    const nonce = new Uint8Array(16);
    new DataView(nonce.buffer).setUint32(0, i + 1);
    nonces.spend(statement(2, { nonce, timestamp: BigInt(at) }), at);
  };
  for (let i = 0; i < 1000; i++) spend(i, now);
  for (let i = 1000; i < 1020; i++) spend(i, now + 1000);
  expect(count()).toBe(20);
});
