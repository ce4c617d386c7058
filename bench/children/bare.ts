import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { childOptions, serveLines } from "./lines.ts";
import { residentMemory } from "./memory.ts";

/** The floor: Node's own servers, which read a request, look at nothing in it, and write an answer that is ready. */
export interface BareChildOptions {
  /** The answer behind gRPC's prefix of 5 bytes, in base64. */
  readonly frame: string;
  /** True to leave the gRPC streams open behind it. */
  readonly hold?: boolean;
  readonly tls: { readonly certFile: string; readonly keyFile: string };
}

const options = childOptions<BareChildOptions>();
const frame = Buffer.from(options.frame, "base64");
const message = frame.subarray(5);
const connectHeaders = { "content-type": "application/proto", "content-length": `${message.length}` };

function onStream(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void {
  if (headers[":method"] === "GET") {
    stream.respond({ ":status": 200, ...connectHeaders });
    stream.end(message);
    return;
  }
  const grpc = headers["content-type"] === "application/grpc";
  stream.on("error", () => {});
  stream.on("data", () => {});
  stream.once("end", () => {
    if (stream.destroyed) return;
    if (grpc) stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.respond(
      grpc ? { ":status": 200, "content-type": "application/grpc+proto" } : { ":status": 200, ...connectHeaders },
      { waitForTrailers: grpc },
    );
    if (grpc && options.hold) stream.write(frame);
    else stream.end(grpc ? frame : message);
  });
}

const h2c = http2.createServer().on("stream", onStream).listen(0, "127.0.0.1");
const h2 = http2
  .createSecureServer({ cert: readFileSync(options.tls.certFile), key: readFileSync(options.tls.keyFile) })
  .on("stream", onStream)
  .listen(0, "127.0.0.1");
const h1 = http
  .createServer((request, response) => {
    request.on("data", () => {});
    request.once("end", () => response.writeHead(200, connectHeaders).end(message));
  })
  .listen(0, "127.0.0.1");
await Promise.all([h2c, h2, h1].map((server) => once(server, "listening")));
const port = (server: { address(): unknown }) => (server.address() as AddressInfo).port;

await serveLines(
  {
    h2c: `http://127.0.0.1:${port(h2c)}`,
    h2: `https://127.0.0.1:${port(h2)}`,
    h1: `http://127.0.0.1:${port(h1)}`,
  },
  residentMemory,
  () => process.exit(),
);
