import { describe, expect, test } from "vitest";
import { Attempts } from "../../src/auth/attempts.ts";
import { authMigrations } from "../../src/auth/migrations.ts";
import { sourceOf } from "../../src/rpc/call/source.ts";
import { openDatabase } from "../../src/store/database.ts";
import { Throttle } from "../../src/store/throttle.ts";
import { WriteQueue } from "../../src/store/write-queue.ts";
import { FakeClock } from "../support/clock.ts";
import { testBytes } from "../support/keys.ts";
import { outcomeOf } from "./support.ts";

const limits = { account: { burst: 2, intervalSeconds: 10 }, source: { burst: 3, intervalSeconds: 10 } };

function setUp() {
  const db = openDatabase(":memory:", authMigrations);
  const clock = new FakeClock();
  const throttle = new Throttle(db, limits, clock, testBytes);
  const attempts = new Attempts(throttle, new WriteQueue(db));
  const rows = () => db.prepare("SELECT count(*) FROM throttle").pluck().get();
  return { db, clock, throttle, attempts, rows };
}

const attempt = { source: "192.0.2.1", account: { appId: "test.registry.alice.shop.7f8a9d", name: "alice" } };

describe("attempts", () => {
  test("beyond the burst come one by one", async () => {
    const { attempts, clock } = setUp();
    const make = () => outcomeOf(attempts.make(attempt, async () => "wrong"));
    expect([await make(), await make(), await make()]).toEqual(["ok", "ok", "RATE_LIMITED"]);
    clock.advance(10);
    expect([await make(), await make()]).toEqual(["ok", "RATE_LIMITED"]);
    clock.advance(1000);
    expect([await make(), await make(), await make()]).toEqual(["ok", "ok", "RATE_LIMITED"]);
  });

  test("of a day that the clock was set back from keep nobody waiting", async () => {
    const { attempts, clock } = setUp();
    const make = () => outcomeOf(attempts.make(attempt, async () => "wrong"));
    clock.advance(86_400);
    expect([await make(), await make()]).toEqual(["ok", "ok"]);
    clock.setBack(86_400);
    expect([await make(), await make(), await make()]).toEqual(["ok", "ok", "RATE_LIMITED"]);
  });

  test("still count if the clock was only set back a little", async () => {
    const { attempts, clock } = setUp();
    const make = () => outcomeOf(attempts.make(attempt, async () => "wrong"));
    expect([await make(), await make()]).toEqual(["ok", "ok"]);
    clock.setBack(5);
    expect(await make()).toBe("RATE_LIMITED");
    clock.advance(15);
    expect([await make(), await make()]).toEqual(["ok", "RATE_LIMITED"]);
  });

  test("that couldn't be made don't count", async () => {
    const { attempts } = setUp();
    for (let i = 0; i < 10; i++) {
      const failed = attempts.make(attempt, () => Promise.reject(new RangeError()));
      await expect(failed).rejects.toThrow(RangeError);
    }
    await attempts.make(attempt, async () => "right");
  });

  test("that are refused for the account don't count for the source", async () => {
    const { attempts } = setUp();
    for (let i = 0; i < 10; i++) await outcomeOf(attempts.make(attempt, async () => "wrong"));
    const bob = { ...attempt, account: { ...attempt.account, name: "bob" } };
    expect(await outcomeOf(attempts.make(bob, async () => "wrong"))).toBe("ok");
    expect(await outcomeOf(attempts.make(bob, async () => "wrong"))).toBe("RATE_LIMITED");
  });
});

describe("the table", () => {
  test("forgets what doesn't matter any more", () => {
    const { throttle, clock, rows } = setUp();
    for (let i = 0; i < 50; i++) throttle.count("account", `name ${i}`);
    expect(rows()).toBe(50);
    clock.advance(10);
    throttle.count("account", "alice");
    expect(rows()).toBe(1);
  });

  test("holds neither names nor addresses", () => {
    const { db, throttle } = setUp();
    throttle.count("account", "alice@example.org");
    expect(db.serialize().includes("alice")).toBe(false);
  });

  test("is another one in each database, so that nobody can aim at another's slot", () => {
    const slots = [setUp(), setUp()].map(({ db, throttle }) => {
      throttle.count("account", "alice");
      return db.prepare("SELECT slot FROM throttle").pluck().get();
    });
    expect(slots[0]).not.toBe(slots[1]);
  });
});

test.each([
  ["192.0.2.7", "192.0.2.7"],
  ["::1", "0:0:0:0::/64"],
  ["::", "0:0:0:0::/64"],
  ["2001:db8::1", "2001:db8:0:0::/64"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:0db8:0001:0002:ffff::", "2001:db8:1:2::/64"],
  ["1::2:3:4:5:6:7", "1:0:2:3::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
])("%s belongs to the source %s", (peer, source) => {
  expect(sourceOf(peer)).toBe(source);
});
