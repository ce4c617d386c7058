import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import { gzipSync } from "node:zlib";
import { create, type DescMethodUnary, fromBinary, toBinary } from "@bufbuild/protobuf";
import { StringValueSchema } from "@bufbuild/protobuf/wkt";
import { type ConnectRouter, createClient, type ServiceImpl } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { toBase64Url, toHex, utf8 } from "../../../src/core/bytes.ts";
import { Reason, Refusal } from "../../../src/core/refusal.ts";
import { callOf } from "../../../src/rpc/call/context.ts";
import { frameOf, messageOf } from "../../../src/rpc/ready/frame.ts";
import { type ReadyAnswers, serveReadyAnswers } from "../../../src/rpc/ready/ready-answers.ts";
import type { ServerOptions } from "../../../src/rpc/server.ts";
import { FakeClock } from "../../support/clock.ts";
import { byConnect, EchoService } from "../support/echo.ts";
import {
  type HttpVersion,
  ImpatientClock,
  type Request,
  send,
  sendHttp1,
  sendHttp2,
  timeless,
} from "../support/exchange.ts";
import { transportOf } from "../support/protocols.ts";
import { cleanUp, start, tls } from "../support/start.ts";

const ECHO = "/test.v1.EchoService/Echo";
const CHANGE = "/test.v1.EchoService/Change";
const NOW_SECONDS = 1_000_000;
const ETAG = '"some-tag"';

/** Echoes, but for a few words; counts how often it was asked. */
class EchoAnswers implements ReadyAnswers {
  asked = 0;
  /** What answers wait for. */
  until: Promise<void> | undefined;

  kept(): undefined {}

  async answer(_: DescMethodUnary, request: Uint8Array) {
    this.asked++;
    await this.until;
    const { value } = fromBinary(StringValueSchema, request);
    if (value === "refused") throw new Refusal(Reason.APP_UNKNOWN, "no such app", { metadata: { app: "x" } });
    if (value === "broken") throw new Error("a mistake");
    const text = value === "long" ? "long".repeat(5000) : value;
    return {
      frame: frameOf(message(text)),
      ...(value === "fresh" ? {} : { reuse: { expiresAt: NOW_SECONDS + 42, etag: ETAG } }),
    };
  }

  now(): number {
    return NOW_SECONDS * 1000 + 1;
  }
}

/** How often an RPC was called. */
type Calls = { byConnect: number; withoutConnect: number };

/** An ordinary RPC that does what EchoAnswers do. */
function changeFor(calls: Calls): ServiceImpl<typeof EchoService>["change"] {
  const answers = new EchoAnswers();
  return async (request, { values }) => {
    calls[callOf(values).entered ? "byConnect" : "withoutConnect"]++;
    const { frame } = await answers.answer(EchoService.method.echo, toBinary(StringValueSchema, request));
    return fromBinary(StringValueSchema, messageOf(frame));
  };
}

/** A server with the fast path, unless `fast` is false, and how often each path was asked. */
async function startEcho(fast: boolean, options: Partial<ServerOptions> = {}) {
  const [slowAnswers, fastAnswers] = [new EchoAnswers(), new EchoAnswers()];
  const calls: Calls = { byConnect: 0, withoutConnect: 0 };
  const registered = fast ? {} : byConnect;
  const { server, port, log } = await start(
    {},
    {
      routes: (router) => {
        router.service(EchoService, { change: changeFor(calls) }, registered);
        serveReadyAnswers(router, [EchoService.method.echo], slowAnswers, registered);
      },
      ...(fast ? { answers: fastAnswers } : {}),
      limits: { maxMessageBytes: 10_000 },
      ...options,
    },
  );
  return { server, port, log, slowAnswers, fastAnswers, calls };
}

const message = (value: string) => toBinary(StringValueSchema, create(StringValueSchema, { value }));
const flagged = (flag: number, bytes: Uint8Array) => {
  const frame = frameOf(bytes);
  frame[0] = flag;
  return frame;
};
const concat = (...parts: Uint8Array[]) => Buffer.concat(parts);
const unknownField = Uint8Array.of(0x78, 1);

/** What a case of the table is made of. */
type Case = {
  readonly name: string;
  /** True if the fast path must answer it, from what is ready if there is something. */
  readonly fast?: true;
  /** True if the fast path must call the handler where no answer is ready. */
  readonly called?: true;
  readonly headers?: Record<string, string>;
  readonly options?: Partial<ServerOptions>;
  readonly path?: string;
  readonly method?: string;
};

const both: readonly Case[] = [
  { name: "with an ID", fast: true, headers: { "x-request-id": "mine" } },
  { name: "large headers", headers: { "x-large": "x".repeat(17_000) } },
  {
    name: "a page that may call",
    fast: true,
    headers: { origin: "https://a.test" },
    options: { cors: { allowedOrigins: ["https://a.test"] } },
  },
  {
    name: "a page that may not",
    fast: true,
    headers: { origin: "https://b.test" },
    options: { cors: { allowedOrigins: ["https://a.test"] } },
  },
  { name: "no page, where some may call", fast: true, options: { cors: { allowedOrigins: ["*"] } } },
  { name: "an unknown RPC", path: "/test.v1.EchoService/Nothing" },
  { name: "an RPC that is not cacheable", called: true, path: CHANGE },
  { name: "a path below the RPC's", path: `${ECHO}/more` },
  { name: "another method", method: "PUT" },
  { name: "OPTIONS", method: "OPTIONS" },
];

function timeouts(name: string, good: string, passed: readonly string[], malformed: readonly string[]): Case[] {
  return [
    { name: `the deadline ${good}`, fast: true, headers: { [name]: good } },
    ...[...passed, ...malformed].map((value) => ({ name: `the deadline ${value}`, headers: { [name]: value } })),
  ];
}

const bodies = (wrap: (bytes: Uint8Array) => Uint8Array) =>
  [
    { name: "a plain one", fast: true, body: [wrap(message("hello"))] },
    { name: "a fresh one", fast: true, body: [wrap(message("fresh"))] },
    { name: "an empty message", fast: true, body: [wrap(message(""))] },
    { name: "an unknown field", fast: true, body: [wrap(concat(message("hello"), unknownField))] },
    {
      name: "in two parts",
      fast: true,
      body: [wrap(message("hello")).subarray(0, 3), wrap(message("hello")).subarray(3)],
    },
    {
      name: "in two parts with a pause",
      body: [wrap(message("hello")).subarray(0, 3), "pause", wrap(message("hello")).subarray(3)],
    },
    { name: "a pause before it", body: ["pause", wrap(message("hello"))] },
    { name: "refused", called: true, body: [wrap(message("refused"))] },
    { name: "a part that fails", called: true, headers: { "x-request-id": "same" }, body: [wrap(message("broken"))] },
    { name: "malformed", body: [wrap(Uint8Array.of(0xff, 0xff, 0xff))] },
    { name: "a field of another type", body: [wrap(Uint8Array.of(0x08, 1))] },
    { name: "larger than what is ready is looked for", called: true, body: [wrap(message("x".repeat(5000)))] },
    {
      name: "larger than that, in two parts",
      body: [
        wrap(message("x".repeat(9000))).subarray(0, 6000),
        "pause",
        wrap(message("x".repeat(9000))).subarray(6000),
      ],
    },
    { name: "oversized", body: [wrap(message("x".repeat(20_000)))] },
    { name: "a long answer", fast: true, body: [wrap(message("long"))] },
  ] as const;

function post(type: string, request: Partial<Request> & { body: Request["body"] }): Request {
  return { method: "POST", path: ECHO, ...request, headers: { "content-type": type, ...request.headers } };
}

function get(query: string, headers: Record<string, string> = {}): Request {
  return { method: "GET", path: `${ECHO}?${query}`, headers, body: [] };
}

const query = (value: string) => `connect=v1&encoding=proto&base64=1&message=${toBase64Url(message(value))}`;

type Row = {
  name: string;
  fast?: true | undefined;
  called?: boolean | undefined;
  request: Request;
  options?: Partial<ServerOptions> | undefined;
  versions: HttpVersion[];
};

function rowsOf(protocol: string, versions: HttpVersion[], cases: readonly Case[], base: Request): Row[] {
  return cases.map(({ name, fast, called, headers, options, path, method }) => ({
    name: `${protocol}: ${name}`,
    fast,
    called,
    options,
    versions,
    request: {
      ...base,
      method: method ?? base.method,
      path: path === undefined ? base.path : base.path.replace(ECHO, path),
      headers: { ...base.headers, ...headers },
      body: method === undefined ? base.body : [],
    },
  }));
}

const grpcType = "application/grpc";
const connectType = "application/proto";

const table: Row[] = [
  ...bodies(frameOf).map(({ name, ...request }) => ({
    name: `gRPC: ${name}`,
    fast: "fast" in request ? request.fast : undefined,
    called: "called" in request,
    versions: ["2" as const],
    request: post(grpcType, request),
  })),
  ...rowsOf(
    "gRPC",
    ["2"],
    [
      ...both,
      ...timeouts("grpc-timeout", "10S", ["0S", "1n"], ["soon", "1", "123456789S", "-1S"]),
      { name: "with its full type", fast: true, headers: { "content-type": "application/grpc+proto" } },
      { name: "of JSON", headers: { "content-type": "application/grpc+json" } },
      { name: "with a charset", headers: { "content-type": "application/grpc; charset=utf-8" } },
      { name: "says that it is not compressed", fast: true, headers: { "grpc-encoding": "identity" } },
      { name: "says that it is compressed", headers: { "grpc-encoding": "gzip" } },
      { name: "compressed as nobody knows", headers: { "grpc-encoding": "br" } },
      { name: "accepts gzip", fast: true, headers: { "grpc-accept-encoding": "identity,deflate, gzip" } },
      { name: "accepts what nobody knows", fast: true, headers: { "grpc-accept-encoding": "br" } },
    ],
    post(grpcType, { body: [frameOf(message("hello"))] }),
  ),
  ...[
    ["compressed", { "grpc-encoding": "gzip" }, [flagged(1, gzipSync(message("hello")))]],
    ["a compressed frame without the header", {}, [flagged(1, gzipSync(message("hello")))]],
    ["accepts gzip, and a long answer", { "grpc-accept-encoding": "gzip" }, [frameOf(message("long"))], true],
    ["an unknown flag", {}, [flagged(4, message("hello"))]],
    ["no body", {}, [new Uint8Array()]],
    ["part of a frame's prefix", {}, [frameOf(message("hello")).subarray(0, 4)]],
    ["part of a frame", {}, [frameOf(message("hello")).subarray(0, 8)]],
    ["bytes behind the frame", {}, [concat(frameOf(message("hello")), Uint8Array.of(0))]],
    ["two messages", {}, [concat(frameOf(message("hello")), frameOf(message("hello")))]],
  ].map(([name, headers, body, called]) => ({
    name: `gRPC: ${name}`,
    called: called === true,
    versions: ["2" as const],
    request: post(grpcType, { headers: headers as Record<string, string>, body: body as Uint8Array[] }),
  })),

  ...bodies((bytes) => bytes).map(({ name, ...request }) => ({
    name: `POST: ${name}`,
    fast: "fast" in request ? request.fast : undefined,
    called: "called" in request,
    versions: ["1.1" as const, "2" as const],
    request: post(connectType, request),
  })),
  ...rowsOf(
    "POST",
    ["1.1", "2"],
    [
      ...both,
      ...timeouts("connect-timeout-ms", "10000", ["0"], ["soon", "1.5", "12345678901", "-1"]),
      { name: "with the protocol's version", fast: true, headers: { "connect-protocol-version": "1" } },
      { name: "of JSON", headers: { "content-type": "application/json" } },
      { name: "of gRPC-Web", headers: { "content-type": "application/grpc-web+proto" } },
      { name: "of a stream", headers: { "content-type": "application/connect+proto" } },
      { name: "of text", headers: { "content-type": "text/plain" } },
      { name: "in capitals", headers: { "content-type": "Application/Proto" } },
      { name: "says that it is not compressed", fast: true, headers: { "content-encoding": "identity" } },
      { name: "says that it is compressed", headers: { "content-encoding": "gzip" } },
      { name: "compressed as nobody knows", headers: { "content-encoding": "br" } },
      { name: "accepts gzip", fast: true, headers: { "accept-encoding": "gzip, br" } },
      { name: "with a query", path: `${ECHO}?a=b` },
      { name: "knows the tag", fast: true, headers: { "if-none-match": ETAG } },
    ],
    post(connectType, { body: [message("hello")] }),
  ),
  {
    name: "POST: compressed",
    versions: ["1.1", "2"],
    request: post(connectType, { headers: { "content-encoding": "gzip" }, body: [gzipSync(message("hello"))] }),
  },
  {
    name: "POST: accepts gzip, and a long answer",
    called: true,
    versions: ["1.1", "2"],
    request: post(connectType, { headers: { "accept-encoding": "gzip" }, body: [message("long")] }),
  },

  ...rowsOf(
    "GET",
    ["1.1", "2"],
    [
      { name: "a plain one", fast: true },
      ...both,
      ...timeouts("connect-timeout-ms", "10000", ["0"], ["soon"]),
      { name: "accepts gzip", fast: true, headers: { "accept-encoding": "gzip" } },
      { name: "knows the tag", fast: true, headers: { "if-none-match": ETAG } },
      { name: "knows a weak form of it", fast: true, headers: { "if-none-match": `"other", W/${ETAG}` } },
      { name: "knows any", fast: true, headers: { "if-none-match": "*" } },
      { name: "knows another", fast: true, headers: { "if-none-match": '"other"' } },
      { name: "HEAD", method: "HEAD" },
      { name: "with a content type", fast: true, headers: { "content-type": "application/json" } },
    ],
    get(query("hello")),
  ),
  ...(
    [
      ["a fresh one", query("fresh"), true],
      ["a fresh one, which nobody can know", query("fresh"), true, { "if-none-match": "*" }],
      ["an empty message", query(""), true],
      ["a long answer to somebody who accepts gzip", query("long"), true, { "accept-encoding": "gzip" }],
      ["refused", query("refused")],
      ["a part that fails", query("broken"), undefined, { "x-request-id": "same" }],
      ["in another order", query("hello").split("&").reverse().join("&"), true],
      ["without the protocol's version", query("hello").replace("connect=v1&", ""), true],
      ["of another version", query("hello").replace("v1", "v2")],
      ["JSON", `connect=v1&encoding=json&message=${encodeURIComponent('"hello"')}`],
      [
        "JSON, known",
        `connect=v1&encoding=json&message=${encodeURIComponent('"hello"')}`,
        undefined,
        { "if-none-match": ETAG },
      ],
      ["an unknown encoding", query("hello").replace("proto", "text")],
      ["no encoding", query("hello").replace("&encoding=proto", "")],
      ["compressed", `${query("hello")}&compression=gzip`],
      ["not base64", `${query("hello")}!`],
      ["base64 of another length", `${query("hello")}A`],
      ["base64 with padding", `${query("hello")}=`],
      ["base64 with percent signs", query("hello").replace("message=C", "message=%43")],
      ["bits behind the last byte", "encoding=proto&base64=1&message=CgFC1"],
      ["plain bytes", "encoding=proto&message=%0A%01B"],
      ["a second message", `${query("hello")}&message=CgFC`],
      ["no message", "encoding=proto&base64=1"],
      ["another parameter", `${query("hello")}&more=1`],
      ["malformed", "encoding=proto&base64=1&message=____"],
      ["a second question mark", `${query("hello")}?more`],
      ["an empty query", ""],
    ] as const
  ).map(([name, text, fast, headers]) => ({
    name: `GET: ${name}`,
    fast,
    versions: ["1.1" as const, "2" as const],
    request: get(text, headers),
  })),
  {
    name: "GET: a host that is none",
    versions: ["1.1"],
    request: get(query("hello"), { host: "[::1" }),
  },
  {
    name: "GET: a host that is none",
    versions: ["2"],
    request: get(query("hello"), { ":authority": "[::1" }),
  },
  {
    name: "GET: with a body",
    versions: ["1.1", "2"],
    request: { ...get(query("hello")), headers: { "content-length": "3" }, body: [Buffer.from("abc")] },
  },
];

const rows = table.flatMap((row) =>
  row.versions.map((version) => [`${row.name} over HTTP/${version}`, version, row] as const),
);

describe.each(rows)("%s", (_, version, { request, options = {}, fast, called }) => {
  /** The answers of both servers, which must not differ. */
  async function sendToBoth(sent: Request) {
    const clock = sent.body.includes("pause") ? new ImpatientClock() : undefined;
    const slowServer = await startEcho(false, options);
    const fastServer = await startEcho(true, { ...options, clock });
    const expected = await send(version, slowServer.port, { ...sent, headers: { ...sent.headers } });
    const answer = await send(version, fastServer.port, { ...sent, headers: { ...sent.headers } }, clock?.slow());
    expect(timeless(answer)).toEqual(timeless(expected));
    return { slowServer, fastServer };
  }

  test("is answered alike on both paths", async () => {
    const { slowServer, fastServer } = await sendToBoth(request);
    if (fast) expect([fastServer.fastAnswers.asked, fastServer.slowAnswers.asked]).toEqual([1, 0]);
    else expect(fastServer.slowAnswers.asked).toBe(slowServer.slowAnswers.asked);
  });

  test("is answered alike on both paths where no answer is ready", async () => {
    const { slowServer, fastServer } = await sendToBoth({ ...request, path: request.path.replace(ECHO, CHANGE) });
    const count = slowServer.calls.byConnect;
    const isFast = (fast || called) && request.method === "POST";
    expect(slowServer.calls.withoutConnect).toBe(0);
    expect(fastServer.calls).toEqual(
      isFast ? { byConnect: 0, withoutConnect: 1 } : { byConnect: count, withoutConnect: 0 },
    );
  });
});

test("over TLS too, the fast path answers", async () => {
  const { port, fastAnswers, slowAnswers } = await startEcho(true, { tls, development: false });
  const transport = transportOf({ protocol: "gRPC", httpVersion: "2" }, `https://localhost:${port}`);
  expect(await createClient(EchoService, transport).echo({ value: "hello" })).toMatchObject({ value: "hello" });
  expect([fastAnswers.asked, slowAnswers.asked]).toEqual([1, 0]);
});

test("a caller who leaves in the middle does no harm", async () => {
  const { port, fastAnswers } = await startEcho(true);
  const session = http2.connect(`http://127.0.0.1:${port}`);
  cleanUp(() => session.destroy());
  const headers = { ":method": "POST", ":path": ECHO, "content-type": grpcType };
  for (const body of [frameOf(message("hello")), frameOf(message("hello")).subarray(0, 7)]) {
    const stream = session.request(headers);
    stream.on("error", () => {});
    stream.write(body);
    stream.close(http2.constants.NGHTTP2_CANCEL);
    await once(stream, "close");
  }
  const half = net.connect(port, "127.0.0.1");
  half.write(`POST ${ECHO} HTTP/1.1\r\nhost: a\r\ncontent-type: ${connectType}\r\ncontent-length: 5\r\n\r\n\n`);
  await once(half, "connect");
  half.destroy();
  await once(half, "close");
  expect(await sendHttp2(port, post(connectType, { body: [message("hello")] }))).toMatchObject({ status: 200 });
  expect(fastAnswers.asked).toBe(1);
});

test.each(["1.1", "2"] as const)("an answer that comes after the deadline is none (HTTP/%s)", async (version) => {
  const gate = Promise.withResolvers<void>();
  const clock = new FakeClock();
  const { port, fastAnswers, log } = await startEcho(true, { clock });
  fastAnswers.until = gate.promise;
  const headers = { "content-type": connectType, "connect-timeout-ms": "5000" };
  const answer = send(version, port, { method: "POST", path: ECHO, headers, body: [message("hello")] });
  await expect.poll(() => fastAnswers.asked).toBe(1);
  clock.advance(5);
  gate.resolve();
  expect(await answer).toMatchObject({ status: 504, body: expect.stringContaining(toHex(utf8("DEADLINE_EXCEEDED"))) });
  await expect
    .poll(() => log.filter(({ msg }) => msg === "call"))
    .toMatchObject([{ outcome: "DEADLINE_EXCEEDED", ms: 5000 }]);
});

test.each(["1.1", "2"] as const)("a caller may leave before the answer is ready (HTTP/%s)", async (version) => {
  const gate = Promise.withResolvers<void>();
  const { port, fastAnswers, log } = await startEcho(true);
  fastAnswers.until = gate.promise;
  const socket = net.connect(port, "127.0.0.1");
  await once(socket, "connect");
  if (version === "2") {
    const session = http2.connect(`http://127.0.0.1:${port}`, { createConnection: () => socket });
    session.on("error", () => {});
    session.request({ ":method": "GET", ":path": `${ECHO}?${query("hello")}` }).on("error", () => {});
  } else {
    socket.write(`GET ${ECHO}?${query("hello")} HTTP/1.1\r\nhost: a\r\n\r\n`);
  }
  await expect.poll(() => fastAnswers.asked).toBe(1);
  socket.destroy();
  await once(socket, "close");
  fastAnswers.until = undefined;
  await send(version, port, get(query("meanwhile")));
  gate.resolve();
  expect(await send(version, port, get(query("hello")))).toMatchObject({ status: 200 });
  expect(log.filter(({ level }) => level === "error")).toEqual([]);
});

test("a read that went well stands in the access log at level debug, whichever path it took", async () => {
  for (const fast of [true, false]) {
    const { port, log } = await startEcho(fast);
    await sendHttp1(port, get(query("hello"), { "x-request-id": "mine" }));
    await sendHttp2(port, post(grpcType, { body: [frameOf(message("hello"))], headers: { "x-request-id": "mine" } }));
    const common = { level: "debug", requestId: "mine", method: ECHO, peer: "127.0.0.1", status: 200, outcome: "ok" };
    await expect
      .poll(() => log.filter(({ msg }) => msg === "call"))
      .toMatchObject([
        { ...common, protocol: "connect", http: "1.1" },
        { ...common, protocol: "grpc", http: "2.0" },
      ]);
  }
});

test("what is marked as cacheable is a read without side effects, with one message each way", () => {
  expect(() => serveReadyAnswers({} as ConnectRouter, [EchoService.method.change], new EchoAnswers())).toThrow(
    TypeError,
  );
});
