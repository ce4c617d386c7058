import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { type AddressInfo, createServer as createNetServer, type Socket } from "node:net";
import type { Writable } from "node:stream";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { Reason, Refusal } from "../../../src/core/refusal.ts";
import { RemoteRefusal } from "../../../src/rpc/call/errors.ts";
import { createTransport } from "../../../src/rpc/client/client.ts";
import { createDialer } from "../../../src/rpc/client/dial.ts";
import { frameOf } from "../../../src/rpc/ready/frame.ts";
import { EchoService } from "../support/echo.ts";
import { collect, errorOf, never, refusalOf } from "../support/outcomes.ts";
import { cleanUp, localDialer, start } from "../support/start.ts";

const HTTP_VERSIONS = ["1.1", "2"] as const;
const unavailable = Reason.REGISTRY_UNAVAILABLE;

function clientOf(baseUrl: string, options: Partial<Parameters<typeof createTransport>[0]> = {}) {
  const transport = createTransport({ baseUrl, dialer: localDialer(), unavailable, ...options });
  cleanUp(() => transport.close());
  return createClient(EchoService, transport);
}

const { output } = EchoService.method.repeat;
const message = frameOf(toBinary(output, create(output, { value: "hello" })));

/** Starts a server that answers any stream with these bytes, and then ends the answer or cuts it. Returns its URL. */
async function startAnswering(httpVersion: "1.1" | "2", bytes: Uint8Array, how: "end" | "cut"): Promise<string> {
  const answer = (stream: Writable) => {
    if (how === "end") stream.end(bytes);
    else stream.write(bytes, () => stream.destroy());
  };
  const contentType = "application/connect+proto";
  const server =
    httpVersion === "2"
      ? createHttp2Server().on("stream", (stream) => {
          stream.respond({ ":status": 200, "content-type": contentType });
          answer(stream);
        })
      : createHttpServer((_, response) => answer(response.writeHead(200, { "content-type": contentType })));
  server.listen(0, "127.0.0.1");
  cleanUp(() => server.close());
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe.each(HTTP_VERSIONS)("the transport over HTTP/%s", (httpVersion) => {
  test("calls, and streams", async () => {
    const { url } = await start({
      async *repeat({ value }) {
        yield { value };
        yield { value };
      },
    });
    const client = clientOf(url, { httpVersion });
    expect((await client.echo({ value: "hello" })).value).toBe("hello");
    expect(await collect(client.repeat({}))).toHaveLength(2);
  });

  test("throws the peer's refusal", async () => {
    const { url } = await start({
      echo() {
        throw new Refusal(Reason.APP_EXISTS, "taken");
      },
      // biome-ignore lint/correctness/useYield: it never comes to that
      async *repeat() {
        throw new Refusal(Reason.CURSOR_INVALID, "no such cursor");
      },
    });
    const client = clientOf(url, { httpVersion });
    const refusal = await refusalOf(client.echo({}));
    expect(refusal).toBeInstanceOf(RemoteRefusal);
    expect(refusal.reason).toBe(Reason.APP_EXISTS);
    expect((await refusalOf(collect(client.repeat({})))).reason).toBe(Reason.CURSOR_INVALID);
  });

  test("says that a peer that is not there is unavailable", async () => {
    const { url, server } = await start();
    await server.close(0);
    expect((await refusalOf(clientOf(url, { httpVersion }).echo({}))).reason).toBe(unavailable);
  });

  test.each([
    ["closed", (socket: Socket) => socket.end()],
    ["reset", (socket: Socket) => socket.resetAndDestroy()],
  ])("says that a peer that is gone amid a call is unavailable: the connection is %s", async (_, cut) => {
    const dying = createNetServer((socket) => {
      socket.on("error", never);
      socket.on("data", () => setTimeout(() => cut(socket), 10));
    });
    dying.listen(0, "127.0.0.1");
    cleanUp(() => dying.close());
    await once(dying, "listening");
    const { port } = dying.address() as AddressInfo;
    const client = clientOf(`http://127.0.0.1:${port}`, { httpVersion });
    expect((await refusalOf(client.echo({}))).reason).toBe(unavailable);
    expect((await refusalOf(collect(client.repeat({})))).reason).toBe(unavailable);
  });

  test.each([
    ["ended after a message", message, "end"],
    ["ended amid a message", message.subarray(0, -1), "end"],
    ["ended amid a message's head", message.subarray(0, 3), "end"],
    ["ended before a message", message.subarray(0, 0), "end"],
    ["cut after a message", message, "cut"],
    ["cut amid a message", message.subarray(0, -1), "cut"],
  ] as const)("says that the peer of a stream that is %s is unavailable", async (_, bytes, how) => {
    const client = clientOf(await startAnswering(httpVersion, bytes, how), { httpVersion });
    expect((await refusalOf(collect(client.repeat({})))).reason).toBe(unavailable);
  });

  test("says that a stream which ends with nonsense does not follow the contract", async () => {
    const nonsense = Buffer.from([2, 0, 0, 0, 1, 33]);
    const client = clientOf(await startAnswering(httpVersion, nonsense, "end"), { httpVersion });
    expect((await refusalOf(collect(client.repeat({})))).reason).toBe(Reason.ANSWER_INVALID);
  });

  test("does not wait for ever for a peer that does not answer", async () => {
    const mute = createNetServer(() => {}).listen(0, "127.0.0.1");
    cleanUp(() => mute.close());
    await new Promise((resolve) => mute.once("listening", resolve));
    const { port } = mute.address() as { port: number };
    const client = clientOf(`http://127.0.0.1:${port}`, { httpVersion, timeoutMs: 30 });
    expect((await refusalOf(client.echo({}))).reason).toBe(unavailable);
  });

  test.each([
    ["compressed", "x".repeat(2000)],
    ["as it is", "x".repeat(1001)],
  ])("bounds an answer's size, %s", async (_, value) => {
    const { url } = await start({ echo: () => ({ value }) });
    const client = clientOf(url, { httpVersion, readMaxBytes: 1000 });
    expect((await refusalOf(client.echo({}))).reason).toBe(Reason.ANSWER_INVALID);
  });

  test("does not apply the unary deadline to streams", async () => {
    const released = Promise.withResolvers<void>();
    const { url } = await start({
      async *repeat({ value }) {
        yield { value };
        await released.promise;
        yield { value };
      },
    });
    const messages = collect(clientOf(url, { httpVersion, timeoutMs: 30 }).repeat({}));
    await new Promise((resolve) => setTimeout(resolve, 60));
    released.resolve();
    expect(await messages).toHaveLength(2);
  });

  test("leaves an abort by the caller what it is", async () => {
    const { url } = await start({ echo: () => new Promise(never) });
    const caller = new AbortController();
    const call = clientOf(url, { httpVersion }).echo({}, { signal: caller.signal });
    caller.abort();
    expect((await errorOf(call)).code).toBe(Code.Canceled);
  });

  test("passes on that an address may not be called", async () => {
    const { url } = await start();
    const dialer = createDialer({ allowPlain: () => true });
    cleanUp(() => dialer.close());
    const refusal = await refusalOf(clientOf(url, { httpVersion, dialer }).echo({}));
    expect(refusal.reason).toBe(Reason.ADDRESS_NOT_ALLOWED);
  });
});

test("a refusal of somebody else that a handler lets escape is an internal error to its caller", async () => {
  const upstream = await start({
    echo() {
      throw new Refusal(Reason.TOKEN_REVOKED, "theirs");
    },
  });
  const { url, log } = await start({ echo: (request) => clientOf(upstream.url).echo(request) });
  expect((await refusalOf(clientOf(url).echo({}))).reason).toBe(Reason.INTERNAL);
  expect(log.some(({ level }) => level === "error")).toBe(true);
});

test("that somebody else cannot be reached is an answer of its own", async () => {
  const upstream = await start();
  await upstream.server.close(0);
  const { url } = await start({ echo: (request) => clientOf(upstream.url).echo(request) });
  expect((await refusalOf(clientOf(url).echo({}))).reason).toBe(unavailable);
});
