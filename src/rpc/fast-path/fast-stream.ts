import type { ServerHttp2Stream } from "node:http2";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { Reason, Refusal } from "../../core/refusal.ts";
import { takeTurn } from "../../core/turns.ts";
import { isReadOnly } from "../call/contract.ts";
import { connectErrorOf } from "../call/errors.ts";
import { refusalOfHandler } from "../call/outcome.ts";
import { corsHeaders } from "../http/cors.ts";
import { RequestHeaders } from "../http/request-headers.ts";
import type { Received } from "../http/small-body.ts";
import { compressed, isOneFrame, isWorthCompressing, messageOf } from "../ready/frame.ts";
import type { MessageSource } from "../ready/ready-streams.ts";
import type { FastPathOptions } from "./fast-path-options.ts";
import type { StreamHead } from "./fast-request.ts";

/** What may wait for a caller who does not read, in bytes, beside one message. */
const MAX_UNSENT_BYTES = 16 * 1024;

/** What all streams of a server share. */
type StreamHost = Pick<
  FastPathOptions,
  "readyStreams" | "streams" | "cors" | "logger" | "accessLog" | "clock" | "requestId" | "peerOf"
>;

/** What of a call is still of interest when it is over: a stream holds it for as long as it lasts. */
type StreamCall = {
  /** The path that was called. */
  readonly method: string;
  readonly readOnly: boolean;
  readonly requestId: string;
  readonly peer: string;
  /** Milliseconds since 1970. */
  readonly start: number;
};

/** Answers with a stream of ready messages. False, and nothing was done, if connect has to. */
export function beginStream(
  host: StreamHost,
  { method, path, compressible, timeoutMs, headers: given }: StreamHead,
  { bytes, rest, waitedSince }: Received,
  http2: ServerHttp2Stream,
): boolean {
  const { readyStreams, streams, cors, clock, requestId, peerOf } = host;
  const open = readyStreams?.get(method);
  if (open === undefined || rest !== undefined || !isOneFrame(bytes)) return false;
  const now = clock.now();
  const start = waitedSince ?? now;
  const call = {
    method: path,
    readOnly: isReadOnly(method),
    requestId: requestId(given["x-request-id"]),
    peer: peerOf(http2.session?.socket.remoteAddress, given),
    start,
  };
  if (streams.refusal(call.peer) !== undefined) return false; // connect tells so
  const stream = new FastStream(host, http2, call, compressible);
  let source: MessageSource;
  try {
    source = open(messageOf(bytes), () => stream.wake(), new RequestHeaders(given));
  } catch {
    return false; // connect asks again, and tells the caller and the log what is wrong
  }
  http2.respond(
    {
      ":status": 200,
      "content-type": "application/grpc+proto",
      "x-request-id": call.requestId,
      ...(cors && corsHeaders(cors, given.origin, false)),
      ...(compressible ? { "grpc-encoding": "gzip" } : {}),
    },
    { waitForTrailers: true },
  );
  stream.begin(source, timeoutMs - (now - start));
  return true;
}

/**
 * A gRPC stream on the fast path: hands messages from their source to HTTP/2 as they are, at the caller's pace. There may be
 * very many, so it is one small object: no iterators, no promises, no abort signals.
 */
class FastStream {
  readonly #host: StreamHost;
  readonly #http2: ServerHttp2Stream;
  readonly #call: StreamCall;
  readonly #compress: boolean;
  /** Undefined before it is open, and when it is over. */
  #source: MessageSource | undefined;
  /** True while the caller has too much to read, or a message is being compressed. */
  #blocked = false;
  #refusal: Refusal | undefined;
  #cancelDeadline: (() => void) | undefined;

  /** @param compress - true if the head says that large messages are compressed */
  constructor(host: StreamHost, http2: ServerHttp2Stream, call: StreamCall, compress: boolean) {
    this.#host = host;
    this.#http2 = http2;
    this.#call = call;
    this.#compress = compress;
  }

  /**
   * Sends what the source has, now and whenever it is woken. The answer's head must have been sent.
   *
   * @param timeoutMs - what is left to the caller's deadline; Infinity for none
   */
  begin(source: MessageSource, timeoutMs: number): void {
    this.#source = source;
    this.#host.streams.add(this, this.#call.peer);
    this.#http2.once("close", () => this.#closed());
    if (timeoutMs !== Number.POSITIVE_INFINITY) {
      this.#cancelDeadline = this.#host.clock.setTimer(timeoutMs, () =>
        this.abort(new Refusal(Reason.DEADLINE_EXCEEDED, "the deadline has passed")),
      );
    }
    // Many who begin far behind have much to be read and sent, one after the other.
    takeTurn(this);
  }

  /** Sends what there is. */
  turn(): void {
    this.wake();
  }

  /** Sends what there is, if the caller takes it. */
  wake(): void {
    // A caller who is gone takes everything at once, of a source that may have no end; "close" follows.
    while (this.#source !== undefined && !this.#blocked && !isGone(this.#http2)) {
      let next: ReturnType<MessageSource["next"]>;
      try {
        next = this.#source.next();
      } catch (error) {
        this.#fail(error);
        return;
      }
      if (next === "later") return;
      if (next === "end") this.#end();
      else if (this.#compress && isWorthCompressing(next)) this.#sendCompressed(next);
      else this.#send(next);
    }
  }

  /** Ends the stream with a refusal, behind what was sent so far. */
  abort(refusal: Refusal): void {
    if (this.#source !== undefined) this.#end(refusal);
  }

  #send(frame: Uint8Array): void {
    this.#blocked = this.#http2.writableLength + frame.length > MAX_UNSENT_BYTES;
    // Called when HTTP/2 has taken the last byte of all that waits.
    if (this.#blocked) this.#http2.write(frame, () => this.#unblock());
    else this.#http2.write(frame);
  }

  #sendCompressed(frame: Uint8Array): void {
    this.#blocked = true;
    compressed(frame).then(
      (smaller) => {
        if (this.#source === undefined) return;
        this.#send(smaller);
        if (!this.#blocked) takeTurn(this);
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #unblock(): void {
    this.#blocked = false;
    takeTurn(this);
  }

  #fail(error: unknown): void {
    if (this.#source === undefined) return;
    const { requestId, method } = this.#call;
    const log = this.#host.logger.child({ requestId });
    this.#end(refusalOfHandler(error, { requestId, method, log }));
  }

  #end(refusal?: Refusal): void {
    this.#release();
    this.#refusal = refusal;
    const status = setTrailerStatus(new Headers(), refusal && connectErrorOf(refusal));
    this.#http2.once("wantTrailers", () => this.#http2.sendTrailers(Object.fromEntries(status)));
    this.#http2.end();
  }

  #closed(): void {
    this.#release();
    const cut = this.#http2.rstCode !== 0;
    const call = { ...this.#call, protocol: "grpc", refusal: this.#refusal };
    this.#host.accessLog(call, { http: "2.0", status: 200, cut, start: call.start });
  }

  #release(): void {
    this.#source?.close();
    this.#source = undefined;
    this.#cancelDeadline?.();
    this.#host.streams.delete(this, this.#call.peer);
  }
}

/** True if writing to the stream throws or leads nowhere. A reset stream is closed before it is destroyed. */
export function isGone(stream: ServerHttp2Stream): boolean {
  return stream.closed || stream.destroyed;
}
