import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { createLogger } from "../../src/core/log.ts";
import { systemRandom } from "../../src/core/random.ts";
import { Reason } from "../../src/core/refusal.ts";
import { defaultLimits } from "../../src/rpc/call/limits.ts";
import { OpenStreams } from "../../src/rpc/call/open-streams.ts";
import { detailOf } from "../../src/rpc/client/refusal-from.ts";
import { createHandlers } from "../../src/rpc/handlers/handlers.ts";
import { Readiness } from "../../src/rpc/handlers/readiness.ts";
import { createPeerFinder } from "../../src/rpc/http/trusted-proxies.ts";
import { createDispatch } from "../../src/rpc/server/dispatch.ts";
import { createFront } from "../../src/rpc/server/front.ts";
import { EchoService } from "./support/echo.ts";
import { collect, errorOf, never } from "./support/outcomes.ts";
import { PROTOCOLS, transportOf } from "./support/protocols.ts";
import { connectRaw } from "./support/raw.ts";
import { cleanUp, type Started, start, tls } from "./support/start.ts";

const ECHO = "/test.v1.EchoService/Echo";

/** A server whose echo answers when it is told to. */
async function startSlow(): Promise<Started & { entered: Promise<void>; release(): void }> {
  let enter = never;
  let release = never;
  const entered = new Promise<void>((resolve) => {
    enter = resolve;
  });
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const started = await start({
    async echo({ value }) {
      enter();
      await released;
      return { value };
    },
  });
  return { ...started, entered, release: () => release() };
}

describe.each(PROTOCOLS)("stopping under $protocol over HTTP/$httpVersion", (how) => {
  test("lets a call under way finish, and takes no other", async () => {
    const { url, server, entered, release } = await startSlow();
    const call = createClient(EchoService, transportOf(how, url)).echo({ value: "hello" });
    await entered;
    const closed = server.close(10_000);
    await errorOf(createClient(EchoService, transportOf(how, url)).echo({ value: "late" }));
    release();
    expect((await call).value).toBe("hello");
    await closed;
  });

  test("gives up on a call after the grace", async () => {
    const { url, server, entered } = await startSlow();
    const failure = errorOf(createClient(EchoService, transportOf(how, url)).echo({ value: "hello" }));
    await entered;
    await server.close(10);
    await failure;
  });
});

test("stopping ends streams with a Reason", async () => {
  const { url, server } = await start({
    async *repeat({ value }) {
      yield { value };
      await new Promise(never);
    },
  });
  const error = await errorOf(
    (async () => {
      const stream = createClient(EchoService, transportOf({ protocol: "gRPC", httpVersion: "2" }, url)).repeat({});
      for await (const _ of stream) void server.close(10_000);
    })(),
  );
  expect(detailOf(error)?.reason).toBe(Reason.SHUTTING_DOWN);
  await server.close(10_000);
});

test("stopping closes idle connections at once", async () => {
  const { port, url, server } = await start();
  const silent = connectRaw(port);
  const keptAlive = connectRaw(port);
  keptAlive.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  await keptAlive.received("404");
  const session = http2.connect(url);
  await once(session, "remoteSettings");
  const sessionClosed = once(session, "close");
  await server.close(60_000);
  await Promise.all([silent.closed, keptAlive.closed, sessionClosed]);
});

test("stopping closes idle TLS connections at once", async () => {
  const { port, server } = await start({}, { tls, development: false });
  const session = http2.connect(`https://localhost:${port}`, { rejectUnauthorized: false });
  await once(session, "remoteSettings");
  const closed = once(session, "close");
  await server.close(60_000);
  await closed;
});

test("the answer to a call under way tells an HTTP/1.1 client to leave", async () => {
  const { url, server, entered, release } = await startSlow();
  const agent = new http.Agent({ keepAlive: true });
  cleanUp(() => agent.destroy());
  const request = http.request(url + ECHO, { method: "POST", agent, headers: { "content-type": "application/json" } });
  const response = once(request, "response");
  request.end('"a"');
  await entered;
  const closed = server.close(60_000);
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  release();
  const [{ headers }] = (await response) as [http.IncomingMessage];
  expect(headers.connection).toBe("close");
  await closed;
});

test("a request that comes in while the server stops is refused with a Reason", async () => {
  const logger = createLogger({ level: "silent", component: "test" });
  const streams = new OpenStreams(defaultLimits);
  const handlers = createHandlers({
    routes: (router) => router.service(EchoService, { echo: () => ({}) }),
    limits: defaultLimits,
    readiness: new Readiness(),
    streams,
  });
  const stopping = () => true;
  const common = {
    httpRoutes: [],
    cors: undefined,
    clock: systemClock,
    random: systemRandom,
    peerOf: createPeerFinder([]),
  };
  const dispatch = createDispatch({ ...common, handlers, streams, limits: defaultLimits, logger, stopping });
  const { listener, destroy } = createFront(dispatch, undefined, defaultLimits, systemClock);
  cleanUp(() => {
    listener.close();
    destroy();
  });
  await once(listener.listen(0, "127.0.0.1"), "listening");
  const url = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;
  const error = await errorOf(
    createClient(EchoService, transportOf({ protocol: "gRPC", httpVersion: "2" }, url)).echo({}),
  );
  expect(detailOf(error)?.reason).toBe(Reason.SHUTTING_DOWN);
});

test("close resolves once, however often it is called", async () => {
  const { server } = await start();
  expect(server.close(0)).toBe(server.close(0));
  await server.close(0);
});

test("leaving nothing behind: a finished server's port can be used again", async () => {
  const { server, port, url } = await start();
  await collect(createClient(EchoService, transportOf({ protocol: "gRPC", httpVersion: "2" }, url)).repeat({})).catch(
    never,
  );
  await server.close(1000);
  const again = await start({}, { port });
  expect(again.port).toBe(port);
});
