import { once } from "node:events";
import net from "node:net";
import { expect, test } from "vitest";
import { cleanUp, start } from "../support/start.ts";

const ECHO = "/test.v1.EchoService/Echo";

/** A frame of HTTP/2 (RFC 9113 section 4.1). */
function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** The start of a connection whose streams may each be sent that many bytes, and all together any number. */
function opening(window: number): Buffer {
  const [size, more] = [Buffer.alloc(6), Buffer.alloc(4)];
  size.writeUInt16BE(4); // SETTINGS_INITIAL_WINDOW_SIZE
  size.writeUInt32BE(window, 2);
  more.writeUInt32BE(2 ** 30);
  return Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(4, 0, 0, size), frame(8, 0, 0, more)]);
}

/** HEADERS of a call, in literals (RFC 7541 section 6.2.2). */
function headers(contentType: string, flags: number): Buffer {
  const fields = {
    ":method": "POST",
    ":scheme": "http",
    ":path": ECHO,
    ":authority": "x",
    "content-type": contentType,
  };
  const block = Object.entries(fields).flatMap((field) => [
    Uint8Array.of(0),
    ...field.flatMap((text) => [Uint8Array.of(text.length), Buffer.from(text)]),
  ]);
  return frame(1, flags, 1, Buffer.concat(block));
}

const END_HEADERS = 4;
const END_STREAM = 1;

function call(contentType: string, body: string): Buffer {
  return Buffer.concat([headers(contentType, END_HEADERS), frame(0, END_STREAM, 1, Buffer.from(body))]);
}

const GRPC = call("application/grpc", "\0\0\0\0\0");
const JSON_CALL = call("application/json", '""');
const ANY = 2 ** 31 - 1;

test.each<[string, string | Buffer]>([
  ["leaves a header block half sent", Buffer.concat([opening(ANY), headers("application/grpc", 0)])],
  ["doesn't close when HTTP/2 does", opening(ANY)],
  ["gives an HTTP/2 answer no window", Buffer.concat([opening(0), GRPC])],
  ["gives an HTTP/2 answer by connect no window", Buffer.concat([opening(0), JSON_CALL])],
  ["doesn't read an HTTP/2 answer", Buffer.concat([opening(ANY), GRPC])],
  ["doesn't read an HTTP/2 answer by connect", Buffer.concat([opening(ANY), JSON_CALL])],
  [
    "doesn't read an HTTP/1.1 answer",
    `POST ${ECHO} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\ncontent-length: 0\r\n\r\n`,
  ],
  [
    "doesn't read an HTTP/1.1 answer by connect",
    `POST ${ECHO} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n""`,
  ],
])("a connection doesn't stay if its peer %s", async (_, bytes) => {
  const value = "x".repeat(2 ** 24); // more than the system keeps for a reader
  const { url, port } = await start(
    { echo: () => ({ value }) },
    { limits: { maxConnections: 1, idleTimeoutMs: 40, maxDeadlineMs: 40, firstBytesTimeoutMs: 40 } },
  );
  const socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  cleanUp(() => socket.destroy());
  socket.on("error", () => {});
  await once(socket, "connect");
  socket.write(bytes);

  // The next one is let in as soon as the server has nothing left of the first.
  const statusOf = () =>
    fetch(url).then(
      ({ status }) => status,
      () => undefined,
    );
  await expect.poll(statusOf, { timeout: 10_000 }).toBe(404);
});
