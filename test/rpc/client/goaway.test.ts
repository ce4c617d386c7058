import { once } from "node:events";
import http2 from "node:http2";
import { type AddressInfo, createServer as createNetServer } from "node:net";
import { createClient } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { Reason, Refusal } from "../../../src/core/refusal.ts";
import { createTransport } from "../../../src/rpc/client/client.ts";
import type { Dialer } from "../../../src/rpc/client/dial.ts";
import { EchoService } from "../support/echo.ts";
import { collect, refusalOf } from "../support/outcomes.ts";
import { cleanUp, localDialer } from "../support/start.ts";

/** A server that answers with empty messages, and its connections. */
async function startServer() {
  const sessions: http2.ServerHttp2Session[] = [];
  const server = http2.createServer().listen(0, "127.0.0.1");
  server.on("session", (session) => sessions.push(session));
  server.on("stream", (stream) => {
    stream.respond({ ":status": 200, "content-type": "application/proto" });
    stream.end();
  });
  await once(server, "listening");
  cleanUp(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sessions };
}

/** A dialler whose first connection takes its time to be gone once it was given up. */
function slowToClose(): { dialer: Dialer; givenUp: Promise<void>; gone: Promise<void> } {
  const dialer = localDialer();
  const givenUp = Promise.withResolvers<void>();
  const gone = Promise.withResolvers<void>();
  let connections = 0;
  const connectHttp2: Dialer["connectHttp2"] = (url) => {
    const socket = dialer.connectHttp2(url);
    if (connections++ > 0) return socket;
    const destroy = socket.destroy.bind(socket);
    socket.destroy = (error) => {
      givenUp.resolve();
      setTimeout(() => destroy(error), 20);
      return socket;
    };
    // After the listeners that are added later.
    socket.once("close", () => setImmediate(gone.resolve));
    return socket;
  };
  return { dialer: { ...dialer, connectHttp2 }, givenUp: givenUp.promise, gone: gone.promise };
}

test("a call while the connection to a server that has stopped is being closed: nothing ends this process", async () => {
  const { url, sessions } = await startServer();
  const { dialer, givenUp, gone } = slowToClose();
  const transport = createTransport({ baseUrl: url, dialer, unavailable: Reason.REGISTRY_UNAVAILABLE });
  cleanUp(() => transport.close());
  const client = createClient(EchoService, transport);

  await client.echo({});
  sessions[0]?.goaway(http2.constants.NGHTTP2_NO_ERROR);
  await givenUp;
  await client.echo({});
  expect(sessions).toHaveLength(2);
  // An error that nobody listens to would be an uncaught exception, which fails the run.
  await gone;
});

/** A frame of HTTP/2 (RFC 9113 section 4.1). */
function frame(type: number, stream: number, payload: readonly number[] = [], flags = 0): Buffer {
  return Buffer.from([0, 0, payload.length, type, flags, 0, 0, 0, stream, ...payload]);
}

const SETTINGS = frame(4, 0);
const GOAWAY_AFTER_FIRST_CALL = frame(7, 0, [0, 0, 0, 1, 0, 0, 0, 0]);
const END_OF_ANSWER_WITHOUT_ANSWER = frame(3, 1, [0, 0, 0, 0]);
// `:status` 200 from the static table, and a literal content-type.
const HEADERS = frame(
  1,
  1,
  [0x88, 0x0f, 0x10, 25, ...Buffer.from("application/connect+proto")],
  0x04, // END_HEADERS
);

/** A server that takes one call over HTTP/2, says what `says` holds, and resets the connection. */
async function startDying(says: readonly Buffer[]): Promise<string> {
  const server = createNetServer((socket) => {
    socket.on("error", () => {});
    socket.write(SETTINGS);
    let received = Buffer.alloc(0);
    const listen = (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      // The call's message is in a DATA frame of the first stream, which ends it.
      if (!received.includes(Buffer.from([0, 1, 0, 0, 0, 1]))) return;
      socket.off("data", listen);
      socket.write(Buffer.concat(says), () => setTimeout(() => socket.resetAndDestroy(), 20));
    };
    socket.on("data", listen);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanUp(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function clientOfDying(says: readonly Buffer[]) {
  const options = { dialer: localDialer(), unavailable: Reason.REGISTRY_UNAVAILABLE, timeoutMs: 600_000 };
  const transport = createTransport({ baseUrl: await startDying(says), ...options });
  cleanUp(() => transport.close());
  return createClient(EchoService, transport);
}

test.each([
  ["takes leave, and then is gone", [GOAWAY_AFTER_FIRST_CALL]],
  ["ends the call as if it were answered", [END_OF_ANSWER_WITHOUT_ANSWER]],
])("no call waits for ever for a server that %s", async (_, says) => {
  const unary = await clientOfDying(says);
  expect((await refusalOf(unary.echo({}))).reason).toBe(Reason.REGISTRY_UNAVAILABLE);
  const streaming = await clientOfDying(says);
  expect((await refusalOf(collect(streaming.repeat({})))).reason).toBe(Reason.REGISTRY_UNAVAILABLE);
});

test("no stream waits for ever for a server that takes leave amid it, and then is gone", async () => {
  const client = await clientOfDying([HEADERS, GOAWAY_AFTER_FIRST_CALL]);
  expect(await refusalOf(collect(client.repeat({})))).toBeInstanceOf(Refusal);
});
