import { describe, expect, test } from "vitest";
import { FakeClock } from "../support/clock.ts";
import { temporaryFolder } from "../support/files.ts";
import { FaultyPublisher } from "./faulty-publisher.ts";
import { openStand, settle } from "./outbox-stand.ts";

const shop = "test.omi-registry.alice.shop.0a1b2c";
const blog = "test.omi-registry.alice.blog.0a1b2c";

function start(folder = temporaryFolder(), publisher = new FaultyPublisher(), clock = new FakeClock()) {
  return { folder, publisher, clock, ...openStand(folder, publisher, clock) };
}

const indexes = ({ kept }: FaultyPublisher) => kept.map((event) => event.index);

describe("publishing", () => {
  test("what is in the log at the start, and what comes later", async () => {
    const first = start();
    first.append(shop);
    first.append(shop);
    await settle();
    expect(indexes(first.publisher)).toEqual([1, 2]);
    await first.stop();

    const second = start(first.folder, first.publisher);
    second.append(blog);
    await settle();
    expect(indexes(first.publisher)).toEqual([1, 2, 3]);
    expect(second.outbox.publishedIndex).toBe(3);
    await second.stop();
  });

  test("one app's events one after the other, those of many apps side by side, and never more than 256", async () => {
    const { publisher, append, outbox, stop } = start();
    publisher.hold();
    for (let number = 0; number < 900; number++) append(`app${number % 300}`);
    for (let round = 0; round < 40; round++) {
      await settle();
      publisher.settleAll();
    }
    expect(publisher.kept).toHaveLength(900);
    expect(publisher.mostWaitingOfOneApp).toBe(1);
    expect(publisher.mostWaiting).toBe(256);
    for (let app = 0; app < 300; app++) {
      expect(publisher.firstKept(`app${app}`)).toEqual([app + 1, app + 301, app + 601]);
    }
    expect(outbox.publishedIndex).toBe(900);
    await stop();
  });

  test("the cursor does not pass an event that is not confirmed", async () => {
    const { publisher, append, outbox, stop } = start();
    await settle();
    publisher.fate = (event) => (event.appId === shop ? "lost" : "confirmed");
    append(shop);
    append(blog);
    await settle();
    expect(indexes(publisher)).toEqual([2]);
    expect(outbox.publishedIndex).toBe(0);
    await stop();
  });

  test("an event that nobody told about is found by and by", async () => {
    const { publisher, appendSilently, clock, stop } = start();
    await settle();
    appendSilently(shop);
    await settle();
    expect(publisher.kept).toHaveLength(0);
    clock.advance(60);
    await settle();
    expect(indexes(publisher)).toEqual([1]);
    await stop();
  });
});

describe("trouble", () => {
  test("the carrier can't be reached: the log grows, and all of it is published afterwards", async () => {
    const { publisher, append, clock, stop } = start();
    publisher.reachable = false;
    publisher.cut();
    for (let number = 0; number < 1000; number++) append(shop);
    for (let minute = 0; minute < 5; minute++) {
      await settle();
      clock.advance(30);
    }
    publisher.reachable = true;
    await settle();
    clock.advance(30);
    for (let round = 0; round < 50; round++) await settle();
    expect(indexes(publisher)).toEqual(Array.from({ length: 1000 }, (_, index) => index + 1));
    await stop();
  });

  test.each(["lost", "kept", "cut"] as const)(
    "one event is %s: it comes again, and nothing overtakes it",
    async (fate) => {
      const { publisher, append, outbox, clock, stop } = start();
      await settle();
      let failures = 0;
      publisher.fate = (event) => (event.index === 2 && failures++ === 0 ? fate : "confirmed");
      for (let number = 0; number < 4; number++) append(shop);
      await settle();
      clock.advance(30);
      await settle();
      expect(publisher.firstKept(shop)).toEqual([1, 2, 3, 4]);
      expect(outbox.publishedIndex).toBe(4);
      await stop();
    },
  );

  test("the longer the carrier is away, the longer the waits, up to 10 s", async () => {
    const { publisher, clock, stop } = start();
    let attempts = 0;
    publisher.connect = async () => {
      attempts++;
      throw new Error("unreachable");
    };
    publisher.cut();
    await settle();
    for (let second = 0; second < 60; second++) {
      clock.advance(1);
      await settle();
    }
    expect(attempts).toBeGreaterThan(5);
    expect(attempts).toBeLessThan(12);
    const before = attempts;
    clock.advance(30);
    await settle();
    expect(attempts).toBe(before + 1);
    await stop();
  });
});

describe("the cursor", () => {
  test("is on disk within a second, so that a crash repeats little", async () => {
    const first = start();
    first.append(shop);
    await settle();
    first.clock.advance(1);
    await settle();
    first.append(shop);
    await settle();
    first.crash();

    const second = start(first.folder, first.publisher);
    await settle();
    expect(indexes(first.publisher)).toEqual([1, 2, 2]);
    await second.stop();
  });

  test("a crash before anything was saved repeats everything", async () => {
    const first = start();
    first.append(shop);
    await settle();
    first.crash();
    const second = start(first.folder, first.publisher);
    await settle();
    expect(indexes(first.publisher)).toEqual([1, 1]);
    await second.stop();
  });

  test("stopping saves it, and stopping twice does no harm", async () => {
    const first = start();
    first.append(shop);
    await settle();
    await first.stop();
    await first.outbox.stop();
    const second = start(first.folder, first.publisher);
    await settle();
    expect(indexes(first.publisher)).toEqual([1]);
    expect(second.outbox.publishedIndex).toBe(1);
    await second.stop();
  });
});

describe("a carrier that lost what it had", () => {
  test("gets again what it would still keep", async () => {
    const { publisher, append, clock, stop } = start();
    append(shop);
    await settle();
    clock.advance(publisher.retentionSeconds + 1);
    append(shop);
    append(blog);
    await settle();
    publisher.kept = [];
    publisher.cut();
    await settle();
    clock.advance(30);
    await settle();
    expect(indexes(publisher)).toEqual([2, 3]);
    await stop();
  });

  test("gets its lost tail again", async () => {
    const { publisher, append, clock, stop } = start();
    for (let number = 0; number < 4; number++) append(shop);
    await settle();
    publisher.kept = publisher.kept.slice(0, 2);
    publisher.cut();
    await settle();
    clock.advance(30);
    await settle();
    expect(publisher.firstKept(shop)).toEqual([1, 2, 3, 4]);
    await stop();
  });

  test("gets it again after a restart of the registry too", async () => {
    const first = start();
    first.append(shop);
    await settle();
    await first.stop();
    first.publisher.kept = [];
    const second = start(first.folder, first.publisher);
    await settle();
    expect(indexes(first.publisher)).toEqual([1]);
    await second.stop();
  });
});

test("a new publisher gets no event that it would not keep", async () => {
  const first = start();
  first.publisher.reachable = false;
  first.publisher.cut();
  first.append(shop);
  first.clock.advance(first.publisher.retentionSeconds + 1);
  first.append(shop);
  first.crash();
  const second = start(first.folder, new FaultyPublisher(), first.clock);
  await settle();
  expect(indexes(second.publisher)).toEqual([2]);
  await second.stop();
});
