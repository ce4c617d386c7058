import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { StringValueSchema } from "@bufbuild/protobuf/wkt";
import { Code, createClient, type HandlerContext, type Interceptor, type ServiceImpl } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { Reason, Refusal } from "../../../src/core/refusal.ts";
import { callOf, requestContext } from "../../../src/rpc/call/context.ts";
import { frameOf } from "../../../src/rpc/ready/frame.ts";
import type { ServerOptions } from "../../../src/rpc/server.ts";
import { byConnect, EchoService } from "../support/echo.ts";
import { type HttpVersion, type Request, send, timeless } from "../support/exchange.ts";
import { never } from "../support/outcomes.ts";
import { transportOf } from "../support/protocols.ts";
import { reasonIn } from "../support/raw.ts";
import { cleanUp, start, tls } from "../support/start.ts";

const CHANGE = "/test.v1.EchoService/Change";

const message = (value: string) => toBinary(StringValueSchema, create(StringValueSchema, { value }));

const ways = [
  { protocol: "grpc", version: "2" },
  { protocol: "connect", version: "2" },
  { protocol: "connect", version: "1.1" },
] as const;
type Way = (typeof ways)[number];

/** A request in one of these ways. */
function requestBy({ protocol }: Way, value: string, headers: Record<string, string> = {}): Request {
  const grpc = protocol === "grpc";
  return {
    method: "POST",
    path: CHANGE,
    headers: { "content-type": grpc ? "application/grpc" : "application/proto", ...headers },
    body: [grpc ? frameOf(message(value)) : message(value)],
  };
}

type Change = NonNullable<ServiceImpl<typeof EchoService>["change"]>;

/** A server whose calls of `change` all go one way, as they are made sure of. */
function startWith(
  fast: boolean,
  change: Change,
  { interceptors = [], ...options }: Partial<ServerOptions> & { interceptors?: Interceptor[] } = {},
) {
  const checked: Change = (request, context) => {
    expect(callOf(context.values).entered).toBe(!fast);
    return change(request, context);
  };
  const routes: ServerOptions["routes"] = (router) =>
    router.service(EchoService, { change: checked }, { interceptors, ...(fast ? {} : byConnect) });
  return start({}, { ...options, routes });
}

/** What each kind of call is answered with, and what a handler does for it. */
const handlers: Readonly<Record<string, Change>> = {
  "headers and trailers of its own": (request, context) => {
    set(context);
    return request;
  },
  "headers and trailers, and a refusal": (_, context) => {
    set(context);
    throw new Refusal(Reason.APP_UNKNOWN, "no such app: ä", { metadata: { app: "x" }, nextStep: "look again" });
  },
  "a long refusal": () => {
    throw new Refusal(Reason.APP_UNKNOWN, "long".repeat(2000));
  },
  "a refusal that comes later": async () => {
    await new Promise(setImmediate);
    throw new Refusal(Reason.RATE_LIMITED, "not now");
  },
  "a part of a message": ({ value }) => ({ value: value.toUpperCase() }),
  "nothing in time": () => new Promise(never),
  "the signal's reason, in time's stead": (_, { signal }) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    }),
  "what it knows": (_, context) => ({ value: JSON.stringify(known(context)) }),
};

function set({ responseHeader, responseTrailer }: HandlerContext): void {
  responseHeader.set("x-one", "1");
  responseHeader.append("set-cookie", "a=1");
  responseHeader.append("set-cookie", "b=2");
  responseTrailer.set("x-two", "2");
}

function known(context: HandlerContext) {
  const { method, service, requestMethod, protocolName, url, requestHeader, signal } = context;
  const { requestId, peer } = requestContext(context);
  const headers = [...requestHeader].filter(([name]) => !/timeout|^host$/.test(name)); // connect's are told the server's deadline
  const timeoutMs = context.timeoutMs() ?? Number.NaN;
  const { pathname, protocol, search } = new URL(url);
  return {
    ...{
      method: method.name,
      service: service.typeName,
      requestMethod,
      protocolName,
      pathname,
      protocol,
      search,
      headers,
    },
    ...{ requestId, peer, isAborted: signal.aborted, isInTime: timeoutMs > 5_000 && timeoutMs <= 30_000 },
  };
}

const interceptors: Readonly<Record<string, Interceptor>> = {
  "changes nothing": (next) => (request) => next(request),
  "changes the request": (next) => (request) =>
    request.stream
      ? next(request)
      : next({
          ...request,
          header: new Headers({ ...Object.fromEntries(request.header), "x-more": "1" }),
          message: create(StringValueSchema, { value: "other" }),
        }),
  "changes the answer": (next) => async (request) => {
    const response = await next(request);
    const header = new Headers(response.header);
    header.set("x-one", "1");
    response.trailer.set("x-two", "2");
    return { ...response, header } as typeof response;
  },
  refuses: () => () => Promise.reject(new Refusal(Reason.TOKEN_MISSING, "no token")),
  "refuses at once": () => () => {
    throw new Refusal(Reason.TOKEN_MISSING, "no token");
  },
  fails: () => () => Promise.reject(new Error("a mistake")),
};

const given = { "x-request-id": "mine", "x-given": "a, b", authorization: "Bearer x" };

describe.each(ways)("$protocol over HTTP/$version", (way) => {
  const { version } = way;

  async function expectAlike(request: Request, change: Change, options?: Parameters<typeof startWith>[2]) {
    const [slow, fast] = [await startWith(false, change, options), await startWith(true, change, options)];
    const expected = timeless(await send(version, slow.port, request));
    expect(timeless(await send(version, fast.port, request))).toEqual(expected);
    await expect.poll(() => linesOf(fast.log)).toEqual(linesOf(slow.log));
    expect(linesOf(fast.log)).not.toEqual([]);
  }

  test.each(Object.keys(handlers))("a handler with %s answers alike on both paths", async (name) => {
    const deadline = name.includes("time") ? { "grpc-timeout": "50m", "connect-timeout-ms": "50" } : {};
    const accept = { "grpc-accept-encoding": "gzip", "accept-encoding": "gzip" };
    await expectAlike(requestBy(way, "hello", { ...given, ...deadline, ...accept }), handlers[name] as Change);
  });

  test.each(Object.keys(interceptors))("an interceptor that %s does so on both paths", async (name) => {
    const change: Change = ({ value }, context) => ({ value: value + JSON.stringify(known(context)) });
    const around = { interceptors: [interceptors[name] as Interceptor, (next: Parameters<Interceptor>[0]) => next] };
    await expectAlike(requestBy(way, "hello", given), change, around);
  });

  test("the signal of a handler is aborted when its deadline passes, and when it has answered", async () => {
    for (const fast of [true, false]) {
      const signals: AbortSignal[] = [];
      const { port } = await startWith(fast, ({ value }, { signal }) => {
        signals.push(signal);
        return value === "late" ? new Promise(never) : { value };
      });
      await send(version, port, requestBy(way, "in time"));
      await send(version, port, requestBy(way, "late", { "grpc-timeout": "50m", "connect-timeout-ms": "50" }));
      expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
    }
  });

  test("an answer that can't be written is the handler's mistake", async () => {
    const { port, log } = await startWith(true, () => ({ value: unwritable as never }));
    const { body, trailers } = await send(version, port, requestBy(way, "hello", { "x-request-id": "mine" }));
    if (way.protocol === "grpc") expect(trailers["grpc-status"]).toBe(String(Code.Internal));
    else expect(reasonIn(`${Buffer.from(body, "hex")}`)).toBe("REASON_INTERNAL");
    await expect.poll(() => linesOf(log)).toMatchObject([{ outcome: "INTERNAL" }]);
    expect(log.filter(({ level }) => level === "error")).toMatchObject([{ method: CHANGE, requestId: "mine" }]);
  });

  test("a caller who leaves aborts the signal, and is nobody's mistake", async () => {
    for (const fast of [true, false]) {
      const entered = Promise.withResolvers<AbortSignal>();
      const { port, log } = await startWith(fast, async (_, { signal }) => {
        entered.resolve(signal);
        await once(signal, "abort");
        throw new Error("left alone");
      });
      const leave = begin(version, port, requestBy(way, "hello"));
      const signal = await entered.promise;
      expect(signal.aborted).toBe(false);
      leave();
      await expect.poll(() => signal.aborted).toBe(true);
      await expect.poll(() => linesOf(log)).toMatchObject([{ outcome: "cut" }]);
      expect(log.filter(({ level }) => level === "error")).toEqual([]);
    }
  });
});

test("a handler sees the URL that was called with TLS, on both paths", async () => {
  const change: Change = (_, { url }) => ({ value: url });
  for (const fast of [true, false]) {
    const { port } = await startWith(fast, change, { tls, development: false });
    const client = createClient(
      EchoService,
      transportOf({ protocol: "gRPC", httpVersion: "2" }, `https://localhost:${port}`),
    );
    expect((await client.change({})).value).toBe(`https://localhost:${port}${CHANGE}`);
  }
});

const unwritable = {
  toString() {
    throw new Error("no text");
  },
};

/** What the access log says, but for how long it took. */
function linesOf(log: readonly Record<string, unknown>[]) {
  return log
    .filter(({ msg }) => msg === "call")
    .map(({ level, requestId, method, protocol, http, peer, status, outcome }) => {
      return { level, requestId, method, protocol, http, peer, status, outcome };
    });
}

/** Sends a request, and returns what makes its caller leave. */
function begin(version: HttpVersion, port: number, { headers, body }: Request): () => void {
  const bytes = Buffer.concat(body as Uint8Array[]);
  if (version === "1.1") {
    const socket = net.connect(port, "127.0.0.1");
    cleanUp(() => socket.destroy());
    const head = Object.entries({ host: "a", ...headers, "content-length": bytes.length }).map((pair) =>
      pair.join(": "),
    );
    socket.write(`POST ${CHANGE} HTTP/1.1\r\n${head.join("\r\n")}\r\n\r\n`);
    socket.write(bytes);
    return () => socket.destroy();
  }
  const session = http2.connect(`http://127.0.0.1:${port}`);
  cleanUp(() => session.destroy());
  const stream = session.request({ ":method": "POST", ":path": CHANGE, ...headers });
  stream.on("error", never).end(bytes);
  return () => stream.close(http2.constants.NGHTTP2_CANCEL);
}
