import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import { createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ConfigError } from "../../../src/core/config.ts";
import { createLogger } from "../../../src/core/log.ts";
import { Reason } from "../../../src/core/refusal.ts";
import { detailOf } from "../../../src/rpc/client/refusal-from.ts";
import { createServer } from "../../../src/rpc/server.ts";
import { EchoService } from "../support/echo.ts";
import { send } from "../support/exchange.ts";
import { errorOf, never } from "../support/outcomes.ts";
import { transportOf } from "../support/protocols.ts";
import { connectRaw, reasonIn } from "../support/raw.ts";
import { cleanUp, start, tls } from "../support/start.ts";

const ECHO = "/test.v1.EchoService/Echo";

function post(
  url: string,
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(url + ECHO, { method: "POST", body, headers: { "content-type": "application/json", ...headers } });
}

describe("connections", () => {
  test("are told apart although their first bytes come one by one", async () => {
    const { port } = await start();
    const raw = connectRaw(port);
    const request = `POST ${ECHO} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n"a"`;
    for (const byte of request) {
      raw.send(byte);
      await new Promise(setImmediate);
    }
    expect(await raw.received('"a"')).toContain("HTTP/1.1 200");
  });

  test("are closed if their first bytes do not come in time", async () => {
    const { port } = await start({}, { limits: { firstBytesTimeoutMs: 20 } });
    const silent = connectRaw(port);
    const slow = connectRaw(port);
    slow.send("PR");
    expect(await silent.closed).toBe("");
    expect(await slow.closed).toBe("");
  });

  test("are closed if a TLS handshake does not come to its end in time", async () => {
    const { port } = await start({}, { tls, limits: { firstBytesTimeoutMs: 20 } });
    const silent = connectRaw(port);
    const slow = connectRaw(port);
    slow.send("\x16\x03\x01\x02\x00");
    expect(await silent.closed).toBe("");
    expect(await slow.closed).toBe("");
  });

  test("are closed if the headers of an HTTP/1.1 request do not come in time", async () => {
    const { port } = await start({}, { limits: { firstBytesTimeoutMs: 20 } });
    const raw = connectRaw(port);
    raw.send("POST / HTTP/1.1\r\nhost: x\r\n");
    expect(await raw.closed).toContain("HTTP/1.1 408");
  });

  test("are closed beyond the limit", async () => {
    const { port } = await start({}, { limits: { maxConnections: 1 } });
    const first = connectRaw(port);
    first.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    await first.received("404");
    expect(await connectRaw(port).closed).toBe("");
  });

  test("are closed when they are idle, in HTTP/2, but not under a silent stream", async () => {
    let release = never;
    const quiet = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { url } = await start(
      {
        async echo() {
          await quiet;
          return { value: "late" };
        },
      },
      { limits: { idleTimeoutMs: 20 } },
    );
    const session = http2.connect(url);
    const closed = once(session, "close");
    const stream = session.request({ ":method": "POST", ":path": ECHO, "content-type": "application/json" });
    stream.end('"a"');
    await new Promise((resolve) => setTimeout(resolve, 60));
    release();
    const [headers] = await once(stream, "response");
    expect(headers[":status"]).toBe(200);
    stream.resume();
    await closed;
  });

  test("survive a peer that resets them", async () => {
    const { port, url } = await start();
    const socket = net.connect(port, "127.0.0.1");
    await once(socket, "connect");
    socket.write("P");
    socket.resetAndDestroy();
    expect((await post(url, '"a"')).status).toBe(200);
  });
});

describe("a request that cannot be read is refused with a Reason", () => {
  test.each([
    ["JSON that is none", "{", "application/json"],
    ["JSON of another type", "17", "application/json"],
    ["JSON that is not UTF-8", Uint8Array.of(0x22, 0xe4, 0x22), "application/json"],
    ["bytes that are no message", "\xff\xff", "application/proto"],
  ])("%s", async (_, body, contentType) => {
    const { url, log } = await start();
    const response = await post(url, body, { "content-type": contentType });
    expect(response.status).toBe(400);
    expect(reasonIn(await response.text())).toBe("REASON_MALFORMED");
    expect(log.some(({ level }) => level === "error")).toBe(false);
  });

  test.each([
    ["a GET with what is not base64", "?encoding=proto&base64=1&message=!", 400, "REASON_MALFORMED"],
    ["a GET with bytes that are no message", "?encoding=proto&base64=1&message=_w", 400, "REASON_MALFORMED"],
  ])("%s", async (_, query, status, reason) => {
    const { url } = await start();
    const response = await fetch(url + ECHO + query);
    expect(response.status).toBe(status);
    expect(reasonIn(await response.text())).toBe(reason);
  });

  test("a content type that is none of ours", async () => {
    const { url } = await start();
    const response = await post(url, "x", { "content-type": "text/plain" });
    expect([response.status, reasonIn(await response.text())]).toEqual([415, "REASON_MALFORMED"]);
  });

  test.each([
    ["a GET of an RPC that changes something", "GET", "Change", "POST"],
    ["another method of it", "PUT", "Change", "POST"],
    ["another method of an RPC that only reads", "DELETE", "Echo", "POST, GET"],
  ])("%s", async (_, method, rpc, allowed) => {
    const { url } = await start();
    const response = await fetch(`${url}/test.v1.EchoService/${rpc}`, { method });
    expect([response.status, reasonIn(await response.text())]).toEqual([405, "REASON_UNIMPLEMENTED"]);
    expect(response.headers.get("allow")).toBe(allowed);
  });

  test("a stream in both directions over HTTP/1.1", async () => {
    const { url } = await start();
    const headers = { "content-type": "application/connect+json" };
    const response = await fetch(`${url}/test.v1.EchoService/Chat`, { method: "POST", headers, body: "" });
    expect([response.status, reasonIn(await response.text())]).toEqual([505, "REASON_UNIMPLEMENTED"]);
  });

  test("an unknown compression", async () => {
    const { url } = await start();
    const response = await post(url, '"a"', { "content-encoding": "br" });
    expect(reasonIn(await response.text())).toBe("REASON_UNIMPLEMENTED");
  });

  test("a deadline that is none", async () => {
    const { url } = await start();
    const response = await post(url, '"a"', { "connect-timeout-ms": "soon" });
    expect(reasonIn(await response.text())).toBe("REASON_MALFORMED");
  });

  test("a deadline that has passed", async () => {
    const { url } = await start();
    const response = await post(url, '"a"', { "connect-timeout-ms": "0" });
    expect(reasonIn(await response.text())).toBe("REASON_DEADLINE_EXCEEDED");
  });

  test("headers that are too large, over HTTP/1.1", async () => {
    const { url } = await start({}, { limits: { maxHeaderBytes: 2000 } });
    const response = await post(url, '"a"', { "x-long": "x".repeat(3000) });
    expect(response.status).toBe(431);
    const text = await response.text();
    expect(reasonIn(text)).toBe("REASON_TOO_LARGE");
    expect(JSON.parse(text).details[0].debug.metadata).toEqual({ limit: "2000" });
  });

  test("headers that are too large, over HTTP/2", async () => {
    const { url } = await start({}, { limits: { maxHeaderBytes: 2000 } });
    const transport = transportOf({ protocol: "gRPC", httpVersion: "2" }, url);
    const headers = { "x-long": "x".repeat(3000) };
    const error = await errorOf(createClient(EchoService, transport).echo({}, { headers }));
    expect(detailOf(error)?.reason).toBe(Reason.TOO_LARGE);
  });

  test("a chunked body that is too large, whose connection stays usable", async () => {
    const { port } = await start({}, { limits: { maxMessageBytes: 100 } });
    const raw = connectRaw(port);
    raw.send(
      `POST ${ECHO} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`,
    );
    raw.send(`c8\r\n${"x".repeat(200)}\r\n`);
    expect(await raw.received("REASON_TOO_LARGE")).toContain("HTTP/1.1 429");
    raw.send("0\r\n\r\n");
    raw.send(`POST ${ECHO} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n"a"`);
    await raw.received("HTTP/1.1 200");
  });

  test("a body that never ends", async () => {
    const { port } = await start({}, { limits: { maxDeadlineMs: 20 } });
    const raw = connectRaw(port);
    raw.send(`POST ${ECHO} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n"`);
    await raw.received("REASON_DEADLINE_EXCEEDED");
  });

  // The first two are waited for on the fast path, which hands over to connect what takes longer.
  test.each([
    ["a message", "application/proto", "20"],
    ["a message, for long", "application/proto", "200"],
    ["JSON", "application/json", "20"],
  ])("a body that takes longer than its caller's deadline: %s", async (_, contentType, timeout) => {
    const { port } = await start();
    const raw = connectRaw(port);
    const head = `content-type: ${contentType}\r\ncontent-length: 3\r\nconnect-timeout-ms: ${timeout}`;
    raw.send(`POST ${ECHO} HTTP/1.1\r\nhost: x\r\n${head}\r\n\r\n"`);
    // Not 408, by which the HTTP/1.1 parser ends what nobody else does.
    expect(await raw.received("REASON_DEADLINE_EXCEEDED")).not.toContain("HTTP/1.1 408");
  });

  test("what is not HTTP", async () => {
    const { port } = await start();
    const raw = connectRaw(port);
    raw.send("HELO x\r\n\r\n");
    expect(await raw.closed).toContain("REASON_MALFORMED");
  });

  test("an HTTP/2 request with an authority that is none", async () => {
    const { url } = await start();
    const session = http2.connect(url);
    cleanUp(() => session.destroy());
    const stream = session.request({
      ":method": "POST",
      ":path": ECHO,
      ":authority": "[",
      "content-type": "application/proto",
    });
    const [headers] = await once(stream, "response");
    expect(headers[":status"]).toBe(400);
  });
});

test.each(["1.1", "2"] as const)("many small headers are no more than their bytes, over HTTP/%s", async (version) => {
  const { port } = await start();
  const many = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`x-${index}`, "x"]));
  const headers = { "content-type": "application/json", ...many };
  const answer = await send(version, port, { method: "POST", path: ECHO, headers, body: [Buffer.from('"a"')] });
  expect(answer.status).toBe(200);
});

test("a path that is nothing is answered with 404", async () => {
  const { url } = await start();
  expect((await fetch(`${url}/favicon.ico`)).status).toBe(404);
});

test("the answer to an HTTP/2 request with an unread body is complete, and the rest is not waited for", async () => {
  const { url } = await start({}, { limits: { maxMessageBytes: 1000 } });
  const session = http2.connect(url);
  cleanUp(() => session.destroy());
  const stream = session.request({
    ":method": "POST",
    ":path": ECHO,
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.write(Buffer.from([0, 0, 1, 0, 0]));
  stream.resume();
  const [trailers] = await once(stream, "trailers");
  expect(trailers["grpc-status"]).toBe("8");
  await once(stream, "close");
  expect(stream.rstCode).toBe(http2.constants.NGHTTP2_NO_ERROR);
});

test("a server without TLS is a mistake outside of development", () => {
  const logger = createLogger({ level: "silent", component: "test" });
  const options = { host: "127.0.0.1", port: 0, routes: never, logger };
  expect(() => createServer(options)).toThrow(ConfigError);
  expect(() => createServer({ ...options, tls: { ...tls, keyFile: "/nowhere/key.pem" } })).toThrow(ConfigError);
});

test("the access log names the call and holds neither query nor body", async () => {
  const { url, log } = await start();
  await fetch(`${url + ECHO}?encoding=json&message=${encodeURIComponent('"my-secret"')}`);
  await post(url, '"my-secret"');
  expect(log.filter(({ msg }) => msg === "call")).toMatchObject([
    { method: ECHO, protocol: "connect", http: "1.1", outcome: "ok", peer: "127.0.0.1" },
    { method: ECHO, protocol: "connect", http: "1.1", outcome: "ok", peer: "127.0.0.1" },
  ]);
  expect(JSON.stringify(log)).not.toContain("my-secret");
});
