import { once } from "node:events";
import http2 from "node:http2";
import { gzipSync } from "node:zlib";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { StringValueSchema } from "@bufbuild/protobuf/wkt";
import { type Client, Code, createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { Reason, Refusal } from "../../../src/core/refusal.ts";
import { detailOf } from "../../../src/rpc/client/refusal-from.ts";
import { frameOf } from "../../../src/rpc/ready/frame.ts";
import { type MessageSource, type OpenStream, serveReadyStream } from "../../../src/rpc/ready/ready-streams.ts";
import type { ServerOptions } from "../../../src/rpc/server.ts";
import { FakeClock } from "../../support/clock.ts";
import { EchoService } from "../support/echo.ts";
import { type HttpVersion, ImpatientClock, type Request, send, timeless } from "../support/exchange.ts";
import { errorOf } from "../support/outcomes.ts";
import { transportOf } from "../support/protocols.ts";
import { cleanUp, start } from "../support/start.ts";

const REPEAT = "/test.v1.EchoService/Repeat";
const LONG = "long".repeat(5000);

const message = (value: string) => toBinary(StringValueSchema, create(StringValueSchema, { value }));

/** A message, or what else happens. After the last one, nothing happens yet. */
type Step = string | "end" | Error;

const refusal = new Refusal(Reason.APP_UNKNOWN, "no such app: ä", { metadata: { app: "x" }, nextStep: "look again" });

const stories: Readonly<Record<string, readonly Step[]>> = {
  two: ["a", "b", "end"],
  none: ["end"],
  empty: ["", "end"],
  long: ["short", LONG, "short", LONG, "end"],
  "refused later": ["a", refusal],
  "refused at once": [refusal],
  "broken later": ["a", new Error("a mistake")],
  waits: ["a"],
  silent: [],
};

/** The size of each message of the story "endless". */
const ENDLESS_BYTES = 1000;

/** Plays what the request names; counts what happened. */
class Stories {
  opened = 0;
  closed = 0;
  /** Messages that were given out. */
  given = 0;
  /** Of the story "two steps"; a test may add to them. */
  readonly steps: Step[] = ["first"];
  /** Wakes the stream that was opened last. */
  wake = () => {};

  readonly open: OpenStream = (request, wake): MessageSource => {
    const value = fromBinary(StringValueSchema, request).value.trim();
    if (value === "refused") throw refusal;
    if (value === "broken") throw new Error("a mistake");
    this.opened++;
    this.wake = wake;
    const steps = value === "two steps" ? this.steps : (stories[value] ?? []);
    let at = 0;
    return {
      next: () => {
        const step = value === "endless" ? `${at}`.padEnd(ENDLESS_BYTES) : steps[at];
        if (step === undefined) return "later";
        at++;
        if (step instanceof Error) throw step;
        if (step === "end") return step;
        this.given++;
        return frameOf(message(step));
      },
      close: () => {
        this.closed++;
      },
    };
  };
}

/** A server with the fast path, unless `fast` is false, and what was told on each path. */
async function startStories(fast: boolean, options: Partial<ServerOptions> = {}) {
  const [slowStories, fastStories] = [new Stories(), new Stories()];
  const { repeat } = EchoService.method;
  const started = await start(
    { repeat: serveReadyStream(repeat, slowStories.open) },
    {
      ...(fast ? { readyStreams: new Map([[repeat, fastStories.open]]) } : {}),
      ...options,
      limits: { maxMessageBytes: 10_000, ...options.limits },
    },
  );
  return { ...started, slowStories, fastStories, stories: fast ? fastStories : slowStories };
}

const grpcType = "application/grpc";

function post(type: string, { body, headers, ...request }: Partial<Request> & { body: Request["body"] }): Request {
  return { method: "POST", path: REPEAT, headers: { "content-type": type, ...headers }, body, ...request };
}

function flagged(flag: number, bytes: Uint8Array): Uint8Array {
  const frame = frameOf(bytes);
  frame[0] = flag;
  return frame;
}

type Row = {
  readonly name: string;
  /** True if the fast path must answer it. */
  readonly fast?: boolean;
  readonly version?: HttpVersion;
  readonly request: Request;
  readonly options?: Partial<ServerOptions>;
};

/** A gRPC request for a story. */
const grpc = (value: string, headers: Record<string, string> = {}) =>
  post(grpcType, { body: [frameOf(message(value))], headers });

const two = frameOf(message("two"));
const cors = { allowedOrigins: ["https://a.test"] };

const table: readonly Row[] = [
  ...["two", "none", "empty", "long", "refused later", "refused at once"].map((story) => ({
    name: `the story "${story}"`,
    fast: true,
    request: grpc(story),
  })),
  { name: "a part that fails later", fast: true, request: grpc("broken later", { "x-request-id": "same" }) },
  { name: "refused", request: grpc("refused") },
  { name: "a part that fails", request: grpc("broken", { "x-request-id": "same" }) },
  { name: "the other name of the type", fast: true, request: post(`${grpcType}+proto`, { body: [two] }) },
  { name: "with an ID", fast: true, request: grpc("two", { "x-request-id": "mine" }) },
  { name: "gzip accepted", fast: true, request: grpc("two", { "grpc-accept-encoding": "identity,deflate,gzip" }) },
  { name: "gzip accepted, long", fast: true, request: grpc("long", { "grpc-accept-encoding": "gzip" }) },
  { name: "deflate accepted, long", fast: true, request: grpc("long", { "grpc-accept-encoding": "deflate" }) },
  { name: "a page that may call", fast: true, request: grpc("two", { origin: "https://a.test" }), options: { cors } },
  { name: "a page that may not", fast: true, request: grpc("two", { origin: "https://b.test" }), options: { cors } },
  { name: "a deadline that is kept", fast: true, request: grpc("two", { "grpc-timeout": "10S" }) },
  { name: "a deadline that passes", fast: true, request: grpc("waits", { "grpc-timeout": "50m" }) },
  { name: "a deadline that passes in silence", fast: true, request: grpc("silent", { "grpc-timeout": "50m" }) },
  {
    name: "a deadline further away than timers reach",
    fast: true,
    request: grpc("two", { "grpc-timeout": "99999999H" }),
  },
  ...["0S", "1n", "soon", "1", "-1S"].map((timeout) => ({
    name: `the deadline ${timeout}`,
    request: grpc("two", { "grpc-timeout": timeout }),
  })),
  { name: "in two parts", fast: true, request: post(grpcType, { body: [two.subarray(0, 3), two.subarray(3)] }) },
  {
    name: "in two parts with a pause",
    request: post(grpcType, { body: [two.subarray(0, 3), "pause", two.subarray(3)] }),
  },
  { name: "a large request", fast: true, request: grpc(`two ${" ".repeat(9000)}`) },
  { name: "oversized", request: grpc("x".repeat(20_000)) },
  { name: "malformed", request: post(grpcType, { body: [frameOf(Uint8Array.of(0xff, 0xff))] }) },
  {
    name: "an unknown field",
    fast: true,
    request: post(grpcType, { body: [frameOf(Buffer.concat([message("two"), Uint8Array.of(0x78, 1)]))] }),
  },
  { name: "no message", request: post(grpcType, { body: [Buffer.alloc(0)] }) },
  { name: "half a message", request: post(grpcType, { body: [two.subarray(0, 7)] }) },
  { name: "two messages", request: post(grpcType, { body: [two, two] }) },
  {
    name: "compressed",
    request: post(grpcType, { body: [flagged(1, gzipSync(message("two")))], headers: { "grpc-encoding": "gzip" } }),
  },
  { name: "a compression that nobody knows", request: grpc("two", { "grpc-encoding": "zip" }) },
  { name: "large headers", request: grpc("two", { "x-large": "x".repeat(17_000) }) },
  { name: "another method", request: { ...grpc("two"), method: "PUT" } },
  { name: "GET", request: { ...grpc("two"), method: "GET", body: [] } },
  { name: "a path below the RPC's", request: { ...grpc("two"), path: `${REPEAT}/more` } },
  { name: "JSON in gRPC", request: post(`${grpcType}+json`, { body: [frameOf(Buffer.from('"two"'))] }) },
  { name: "gRPC-Web", request: post("application/grpc-web+proto", { body: [two] }) },
  { name: "gRPC-Web over HTTP/1.1", version: "1.1", request: post("application/grpc-web+proto", { body: [two] }) },
  { name: "Connect", request: post("application/connect+proto", { body: [two] }) },
  { name: "Connect over HTTP/1.1", version: "1.1", request: post("application/connect+proto", { body: [two] }) },
  { name: "Connect's type for single answers", request: post("application/proto", { body: [message("two")] }) },
  { name: "gRPC over HTTP/1.1", version: "1.1", request: grpc("two") },
  { name: "no content type", request: { ...grpc("two"), headers: {} } },
  { name: "another content type", request: post("text/plain", { body: [two] }) },
];

test.each([
  ["all", { maxStreams: 2 }, ["a", "a"], "b"],
  ["one source", { maxStreamsPerPeer: 1 }, ["a", "b"], "a"],
])("streams beyond the limit for %s are refused, on either path alike", async (_, limits, open, refused) => {
  for (const fast of [false, true]) {
    const { port, stories } = await startStories(fast, { limits, trustedProxies: ["127.0.0.1"] });
    const session = http2.connect(`http://127.0.0.1:${port}`);
    cleanUp(() => session.destroy());
    const addresses: Readonly<Record<string, string>> = { a: "192.0.2.1", b: "192.0.2.2" };
    const ask = (from: string) => {
      const headers = { ":method": "POST", ":path": REPEAT, "content-type": grpcType };
      const stream = session.request({ ...headers, "x-forwarded-for": addresses[from] });
      stream.resume().end(frameOf(message("waits")));
      return stream;
    };
    for (const from of open) await once(ask(from), "data");
    expect(stories.opened).toBe(2);
    const [trailers] = await once(ask(refused), "trailers");
    expect(trailers["grpc-status"]).toBe(String(Code.Unavailable));
    expect(stories.opened).toBe(2);
  }
});

test("a call is answered while many who read fast have endlessly much to read", async () => {
  const { port, stories, url } = await startStories(true);
  const session = http2.connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 2 ** 31 - 1 } });
  cleanUp(() => session.destroy());
  await once(session, "connect");
  session.setLocalWindowSize(2 ** 31 - 1);
  const streams = Array.from({ length: 200 }, () => {
    const stream = session.request({ ":method": "POST", ":path": REPEAT, "content-type": grpcType });
    stream.resume().end(frameOf(message("endless")));
    return stream;
  });
  await Promise.all(streams.map((stream) => once(stream, "data")));
  const before = stories.given;
  const client = createClient(EchoService, transportOf({ protocol: "gRPC", httpVersion: "2" }, url));
  expect((await client.echo({ value: "hello" })).value).toBe("hello");
  expect(stories.given).toBeGreaterThan(before);
});

describe.each(table)("$name", ({ version = "2", request, options = {}, fast = false }) => {
  test("is answered alike on both paths", async () => {
    const clock = request.body.includes("pause") ? new ImpatientClock() : undefined;
    const slowServer = await startStories(false, options);
    const fastServer = await startStories(true, { ...options, clock });
    const headers = { ...request.headers };
    const expected = await send(version, slowServer.port, { ...request, headers });
    const answer = await send(version, fastServer.port, { ...request, headers }, clock?.slow());
    expect(timeless(answer)).toEqual(timeless(expected));
    const [slow, onFastPath, besides] = [slowServer.slowStories, fastServer.fastStories, fastServer.slowStories];
    expect([onFastPath.opened, besides.opened]).toEqual(fast ? [1, 0] : [0, slow.opened]);
    for (const { opened, closed } of [slow, onFastPath, besides]) expect(closed).toBe(opened);
  });
});

describe.each([true, false])("with the fast path: %s", (fast) => {
  /** A gRPC stream over a connection of its own, read by nobody yet. */
  function openRaw(port: number, story: string): http2.ClientHttp2Stream {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    cleanUp(() => session.destroy());
    const stream = session.request({ ":method": "POST", ":path": REPEAT, "content-type": grpcType });
    stream.on("error", () => {});
    stream.end(frameOf(message(story)));
    return stream;
  }

  const clientOf = (url: string) => createClient(EchoService, transportOf({ protocol: "gRPC", httpVersion: "2" }, url));

  test("messages leave when the stream is woken", async () => {
    const { url, stories } = await startStories(fast);
    const messages = clientOf(url).repeat({ value: "two steps" })[Symbol.asyncIterator]();
    expect((await messages.next()).value).toMatchObject({ value: "first" });
    const second = messages.next();
    stories.steps.push("second", "end");
    stories.wake();
    expect((await second).value).toMatchObject({ value: "second" });
    expect((await messages.next()).done).toBe(true);
    expect(stories.closed).toBe(1);
    stories.wake();
  });

  test("a caller who leaves ends the stream", async () => {
    const { port, stories, log } = await startStories(fast);
    const stream = openRaw(port, "waits");
    await once(stream, "data");
    stream.close(http2.constants.NGHTTP2_CANCEL);
    await expect.poll(() => stories.closed).toBe(1);
    stories.wake();
    expect(stories.given).toBe(1);
    await expect
      .poll(() => log.filter(({ msg }) => msg === "call"))
      .toMatchObject([{ method: REPEAT, outcome: "cut" }]);
  });

  test.each([
    ["with a reset", (stream: http2.ClientHttp2Stream) => stream.close(http2.constants.NGHTTP2_CANCEL)],
    ["with the connection", (stream: http2.ClientHttp2Stream) => stream.session?.destroy()],
  ])("a caller who leaves %s and much unread ends the stream", async (_, leave) => {
    const { port, stories } = await startStories(fast);
    const stream = openRaw(port, "endless");
    await once(stream, "response");
    leave(stream);
    await expect.poll(() => stories.closed).toBe(1);
    expect(stories.given * ENDLESS_BYTES).toBeLessThan(300_000);
  });

  test("a caller who leaves while it is opened does no harm", async () => {
    const { port, url, stories } = await startStories(fast);
    const session = http2.connect(`http://127.0.0.1:${port}`);
    cleanUp(() => session.destroy());
    for (const part of [7, undefined]) {
      const stream = session.request({ ":method": "POST", ":path": REPEAT, "content-type": grpcType });
      stream.on("error", () => {});
      stream.write(frameOf(message("waits")).subarray(0, part));
      stream.close(http2.constants.NGHTTP2_CANCEL);
      await once(stream, "close");
    }
    for await (const { value } of clientOf(url).repeat({ value: "two" })) expect(value).toMatch(/a|b/);
    await expect.poll(() => stories.closed).toBe(stories.opened);
  });

  test("a caller who does not read costs no more memory, delays nobody, and misses nothing", async () => {
    const { port, url, stories } = await startStories(fast);
    const slow = openRaw(port, "endless");
    await once(slow, "response");
    const quick = await startReading(clientOf(url), 5000);
    const takenBySlow = stories.given - quick;
    // Two windows of HTTP/2 (64 KB), and what waits at the server for either caller.
    expect(takenBySlow * ENDLESS_BYTES).toBeLessThan(300_000);

    let next = 0;
    let rest = Buffer.alloc(0);
    for await (const chunk of slow) {
      rest = Buffer.concat([rest, chunk]);
      for (; rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1); next++) {
        const end = 5 + rest.readUInt32BE(1);
        expect(fromBinary(StringValueSchema, rest.subarray(5, end)).value.trim()).toBe(`${next}`);
        rest = rest.subarray(end);
      }
      if (next > 2 * takenBySlow) break;
    }
  });

  test("the server's stop ends it with a Reason, behind what was sent", async () => {
    const { url, server, stories } = await startStories(fast);
    const seen: string[] = [];
    const error = errorOf(
      (async () => {
        for await (const { value } of clientOf(url).repeat({ value: "waits" })) {
          seen.push(value);
          void server.close(60_000);
        }
      })(),
    );
    expect(detailOf(await error)?.reason).toBe(Reason.SHUTTING_DOWN);
    expect(seen).toEqual(["a"]);
    expect(stories.closed).toBe(1);
    await server.close(60_000);
  });

  test("a stream that is open keeps its connection, however silent it is", async () => {
    const clock = new FakeClock();
    const { port, stories } = await startStories(fast, { clock });
    const stream = openRaw(port, "two steps");
    await once(stream, "data");
    for (let minutes = 0; minutes < 10; minutes++) clock.advance(60);
    const more = once(stream, "data");
    stories.steps.push("second");
    stories.wake();
    await more;
  });

  test("how it ended stands in the access log", async () => {
    const { port, log } = await startStories(fast, { trustedProxies: ["127.0.0.1"] });
    for (const story of ["two", "refused later", "broken later"]) {
      await send("2", port, grpc(story, { "x-request-id": "mine", "x-forwarded-for": "192.0.2.7" }));
    }
    const common = { requestId: "mine", method: REPEAT, protocol: "grpc", http: "2.0", peer: "192.0.2.7", status: 200 };
    await expect
      .poll(() => log.filter(({ msg }) => msg === "call"))
      .toMatchObject(["ok", "APP_UNKNOWN", "INTERNAL"].map((outcome) => ({ ...common, level: "info", outcome })));
    expect(log.filter(({ msg }) => msg === "handler failed")).toMatchObject([{ requestId: "mine", method: REPEAT }]);
  });
});

/** Reads so many endless messages, and leaves. Returns how many were given out to this reader. */
async function startReading(client: Client<typeof EchoService>, count: number): Promise<number> {
  let read = 0;
  for await (const _ of client.repeat({ value: "endless" })) if (++read === count) break;
  return read;
}
