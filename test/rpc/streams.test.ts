import { Code, createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { Reason, Refusal } from "../../src/core/refusal.ts";
import { connectErrorOf } from "../../src/rpc/call/errors.ts";
import { detailOf } from "../../src/rpc/client/refusal-from.ts";
import { EchoService } from "./support/echo.ts";
import { collect, errorOf, never } from "./support/outcomes.ts";
import { PROTOCOLS, transportOf } from "./support/protocols.ts";
import { start } from "./support/start.ts";

const OVER_HTTP2 = PROTOCOLS.filter(({ protocol, httpVersion }) => protocol !== "Connect GET" && httpVersion === "2");

describe.each(OVER_HTTP2)("streams with $protocol", (how) => {
  test("flow in all directions", async () => {
    const { url } = await start({
      async *repeat({ value }) {
        yield { value };
        yield { value };
      },
      async join(requests) {
        return { value: (await collect(requests)).map(({ value }) => value).join() };
      },
      async *chat(requests) {
        for await (const { value } of requests) yield { value: value.toUpperCase() };
      },
    });
    const client = createClient(EchoService, transportOf(how, url));
    async function* input() {
      yield { value: "a" };
      yield { value: "b" };
    }
    expect((await collect(client.repeat({ value: "x" }))).map(({ value }) => value)).toEqual(["x", "x"]);
    expect((await client.join(input())).value).toBe("a,b");
    expect((await collect(client.chat(input()))).map(({ value }) => value)).toEqual(["A", "B"]);
  });

  test("end with a refusal after some messages", async () => {
    const { url } = await start({
      async *repeat({ value }) {
        yield { value };
        throw new Refusal(Reason.CURSOR_INVALID, "no such cursor");
      },
    });
    const seen: string[] = [];
    const error = await errorOf(
      (async () => {
        for await (const { value } of createClient(EchoService, transportOf(how, url)).repeat({ value: "x" }))
          seen.push(value);
      })(),
    );
    expect(seen).toEqual(["x"]);
    expect(detailOf(error)?.reason).toBe(Reason.CURSOR_INVALID);
  });

  test("live longer than the unary deadline", async () => {
    const released = Promise.withResolvers<void>();
    const { url } = await start(
      {
        async *repeat({ value }, { timeoutMs }) {
          expect(timeoutMs()).toBeUndefined();
          await released.promise;
          yield { value };
        },
      },
      // Long enough for the call to arrive, also on a machine that is busy.
      { limits: { maxDeadlineMs: 300 } },
    );
    const messages = collect(createClient(EchoService, transportOf(how, url)).repeat({ value: "x" }));
    await new Promise((resolve) => setTimeout(resolve, 400));
    released.resolve();
    expect(await messages).toHaveLength(1);
  });

  test("have no deadline where the caller's is further away than timers reach", async () => {
    const { url } = await start({
      async *repeat({ value }) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        yield { value };
      },
    });
    const headers = { "grpc-timeout": "99999999H", "connect-timeout-ms": "9999999999" };
    const messages = createClient(EchoService, transportOf(how, url)).repeat({ value: "x" }, { headers });
    expect(await collect(messages)).toHaveLength(1);
  });

  test("end at the caller's own deadline, although the handler does not look", async () => {
    const { url } = await start({
      // biome-ignore lint/correctness/useYield: it never comes to that
      async *repeat() {
        await new Promise(never);
      },
    });
    const error = await errorOf(
      collect(createClient(EchoService, transportOf(how, url)).repeat({}, { timeoutMs: 30 })),
    );
    expect(error.code).toBe(Code.DeadlineExceeded);
  });

  test("refuse a message that is too large", async () => {
    const { url } = await start(
      {
        async join(requests) {
          return { value: `${(await collect(requests)).length}` };
        },
      },
      { limits: { maxMessageBytes: 1000 } },
    );
    async function* input() {
      yield { value: "a" };
      yield { value: "x".repeat(2000) };
    }
    const error = await errorOf(createClient(EchoService, transportOf(how, url)).join(input()));
    expect(detailOf(error)?.reason).toBe(Reason.TOO_LARGE);
  });

  test.each([
    ["the limit", { maxStreams: 1 }],
    ["the limit for one source", { maxStreamsPerPeer: 1 }],
  ])("are refused beyond %s, until one has ended", async (_, limits) => {
    const ended = Promise.withResolvers<void>();
    const { url } = await start(
      {
        async *repeat({ value }, { signal }) {
          signal.addEventListener("abort", () => setImmediate(ended.resolve));
          yield { value };
          if (value === "stay") await new Promise(never);
        },
      },
      { limits },
    );
    const client = createClient(EchoService, transportOf(how, url));
    const caller = new AbortController();
    const staying = client.repeat({ value: "stay" }, { signal: caller.signal })[Symbol.asyncIterator]();
    await staying.next();

    expect(detailOf(await errorOf(collect(client.repeat({}))))?.reason).toBe(Reason.OVERLOADED);

    caller.abort();
    await staying.next().catch(never);
    await ended.promise;
    expect(await collect(client.repeat({}))).toHaveLength(1);
  });

  test("abort the handler's signal when the caller leaves", async () => {
    let left = never;
    const gone = new Promise<void>((resolve) => {
      left = resolve;
    });
    const { url } = await start({
      async *repeat({ value }, { signal }) {
        signal.addEventListener("abort", () => left());
        yield { value };
        await new Promise(never);
      },
    });
    const caller = new AbortController();
    const call = createClient(EchoService, transportOf(how, url)).repeat({}, { signal: caller.signal });
    const messages = call[Symbol.asyncIterator]();
    await messages.next();
    caller.abort();
    await messages.next().catch(never);
    await gone;
  });
});

test("a refusal keeps its form on the way through connect's errors", () => {
  const error = connectErrorOf(new Refusal(Reason.RATE_LIMITED, "slow", { metadata: { retry_after_seconds: "3" } }));
  expect(error.code).toBe(Code.ResourceExhausted);
  expect(detailOf(error)).toMatchObject({ reason: Reason.RATE_LIMITED, metadata: { retry_after_seconds: "3" } });
});
