import { once } from "node:events";
import http2 from "node:http2";
import { childOptions, serveLines } from "./lines.ts";

/** Opens many streams that watch the same, and tells when all of them were told of a write. */
export interface WatchLoadOptions {
  readonly connections: number;
  readonly streamsPerConnection: number;
  /** The gRPC request that opens each stream, in base64. */
  readonly watchFrame: string;
}

/** What the parent may ask for. */
export type WatchLoadQuestion =
  /** Opens the streams, and waits until each has its first message. */
  | { readonly do: "open"; readonly url: string }
  /** Sends a write, and waits until each stream has one more event. */
  | { readonly do: "deliver"; readonly url: string; readonly path: string; readonly body: string };

const { connections, streamsPerConnection, watchFrame } = childOptions<WatchLoadOptions>();
const request = Buffer.from(watchFrame, "base64");
const headers = {
  ":method": "POST",
  ":path": "/omi.event.v1.EventService/Watch",
  "content-type": "application/grpc",
  te: "trailers",
};

const prefixBytes = 5;
/** The first byte of a WatchResponse with an event, which is its field 1. */
const eventTag = 0x0a;

const expected = connections * streamsPerConnection;
const received = { messages: 0, events: 0 };
let lookAgain = () => {};

/** Counts the messages of a stream. Most come in a chunk of their own. */
function countMessages(stream: http2.ClientHttp2Stream): void {
  let rest: Buffer | undefined;
  stream.on("data", (chunk: Buffer) => {
    let bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
    while (bytes.length > prefixBytes && bytes.length >= prefixBytes + bytes.readUInt32BE(1)) {
      received.messages++;
      if (bytes[prefixBytes] === eventTag) received.events++;
      bytes = bytes.subarray(prefixBytes + bytes.readUInt32BE(1));
    }
    rest = bytes.length === 0 ? undefined : bytes;
    lookAgain();
  });
  stream.once("close", () => {
    if (!ending) throw new Error("a stream was closed");
  });
}

/** Resolves when so many were received. */
async function reached(what: keyof typeof received, count: number): Promise<void> {
  await new Promise<void>((resolve) => {
    lookAgain = () => received[what] >= count && resolve();
    lookAgain();
  });
  lookAgain = () => {};
}

async function open(url: string): Promise<object> {
  for (let connection = 0; connection < connections; connection++) {
    const session = http2.connect(url);
    sessions.push(session);
    for (let index = 0; index < streamsPerConnection; index++) {
      const stream = session.request(headers);
      countMessages(stream);
      stream.end(request);
    }
    await once(session, "connect");
  }
  await reached("messages", expected);
  return {};
}

async function deliver(url: string, path: string, body: string): Promise<{ milliseconds: number }> {
  const before = received.events;
  const session = http2.connect(url);
  await once(session, "connect");
  const start = process.hrtime.bigint();
  const write = session.request({ ":method": "POST", ":path": path, "content-type": "application/proto" });
  write.resume().end(Buffer.from(body, "base64"));
  const delivered = reached("events", before + expected);
  const [{ ":status": status }] = await once(write, "response");
  if (status !== 200) throw new Error(`the write was refused: ${status}`);
  await delivered;
  const milliseconds = Number(process.hrtime.bigint() - start) / 1e6;
  session.close();
  return { milliseconds };
}

const sessions: http2.ClientHttp2Session[] = [];
let ending = false;

await serveLines<WatchLoadQuestion>(
  {},
  (question) => (question.do === "open" ? open(question.url) : deliver(question.url, question.path, question.body)),
  () => {
    ending = true;
    for (const session of sessions) session.destroy();
  },
);
