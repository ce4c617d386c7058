import { once } from "node:events";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { createClient } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { Reason } from "../../src/core/refusal.ts";
import { createTransport } from "../../src/rpc/client.ts";
import type { Dialer } from "../../src/rpc/dial.ts";
import { EchoService } from "./support/echo.ts";
import { cleanUp, localDialer } from "./support/start.ts";

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
