import http2 from "node:http2";
import type { Duplex } from "node:stream";
import type { Clock } from "../../core/clock.ts";
import type { Limits } from "../call/limits.ts";
import { answerFastHttp2, type Http2Call } from "../fast-path/fast-http2.ts";
import type { Received } from "../http/small-body.ts";
import type { Dispatch } from "./dispatch.ts";
import { cutUntakenAnswers } from "./untaken-answers.ts";

/** HTTP/2 for connections that somebody else accepts. */
export type Http2 = {
  /** Takes a connection over. */
  serve(socket: Duplex): void;
  /** Takes no new calls (GOAWAY), and closes each connection after its last answer. */
  drain(): void;
};

/** A connection, and what tells whether it is idle. */
type Connection = {
  readonly socket: Duplex;
  /** Open calls. */
  readonly answers: Set<http2.ServerHttp2Stream>;
  /** How many checks have found no call since the last one. */
  checksWithoutCall: number;
};

// How often a connection without calls is looked at before it is closed: that much more than the limit it may live.
const IDLE_CHECKS = 4;

// What Node takes over HTTP/1.1.
const MAX_HEADERS = 2000;

/** Creates an HTTP/2 server that never listens. */
export function createHttp2(dispatch: Dispatch, limits: Limits, clock: Clock): Http2 {
  const sessions = new Map<http2.Http2Session, Connection>();
  const server = http2.createServer({
    settings: { enablePush: false, maxConcurrentStreams: limits.maxStreamsPerConnection },
    // Beyond it the stream is reset without a Reason; what counts is the bytes of all, as over HTTP/1.1. Node's default is 128.
    maxHeaderListPairs: MAX_HEADERS,
    // A check of what is sent, on every answer; ours name no header twice.
    strictSingleValueFields: false,
  });

  const stopCutting = cutUntakenAnswers({
    connections: () => sessions.values(),
    // Over a connection that takes nothing at all, the reset doesn't come through either.
    cut: (stream, socket) => (stream.closed ? socket.destroy() : stream.close(http2.constants.NGHTTP2_CANCEL)),
    takeMs: limits.maxDeadlineMs,
    clock,
  });

  // Node's own timeout is set anew with every frame, which costs more than everything else here.
  const checkIdle = () => {
    for (const [session, connection] of sessions) {
      if (connection.answers.size > 0 || connection.checksWithoutCall++ < IDLE_CHECKS) continue;
      // A peer who doesn't close as well, or has left a header block half sent, would hold up the close for as long as he likes.
      if (session.closed || session.destroyed) connection.socket.destroy();
      else session.close();
    }
    stopChecking = clock.setTimer(limits.idleTimeoutMs / IDLE_CHECKS, checkIdle);
  };
  let stopChecking = clock.setTimer(limits.idleTimeoutMs / IDLE_CHECKS, checkIdle);

  // The only stream listener, and no request listener: with both, a stream would be answered twice.
  server.on("stream", (stream, headers, flags, rawHeaders) => {
    const connection = stream.session && sessions.get(stream.session);
    if (connection !== undefined) keepUntilClosed(stream, connection);
    answerFastHttp2(dispatch.fast, new StreamCall(dispatch, stream, headers, rawHeaders), flags);
  });

  return {
    serve(socket) {
      // Within the next line; a session doesn't let go of its socket later.
      server.once("session", (session) => {
        sessions.set(session, { socket, answers: new Set(), checksWithoutCall: 0 });
        session.once("close", () => sessions.delete(session));
      });
      server.emit("connection", socket);
    },
    drain() {
      stopChecking();
      stopCutting();
      for (const session of sessions.keys()) session.close();
    },
  };
}

/** What the stream listener knows, as an object: there is one for every request, and closures would each cost as much. */
class StreamCall implements Http2Call {
  readonly stream: http2.ServerHttp2Stream;
  readonly headers: http2.IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly #dispatch: Dispatch;

  constructor(
    dispatch: Dispatch,
    stream: http2.ServerHttp2Stream,
    headers: http2.IncomingHttpHeaders,
    rawHeaders: readonly string[],
  ) {
    this.stream = stream;
    this.headers = headers;
    this.rawHeaders = rawHeaders;
    this.#dispatch = dispatch;
  }

  slow(received?: Received): void {
    const request = new http2.Http2ServerRequest(this.stream, this.headers, {}, this.rawHeaders);
    this.#dispatch.answer(request, new http2.Http2ServerResponse(this.stream), received);
  }
}

// Apart from the call, so that a long stream doesn't hold on to what that one knows.
function keepUntilClosed(stream: http2.ServerHttp2Stream, connection: Connection): void {
  connection.answers.add(stream);
  connection.checksWithoutCall = 0;
  stream.once("close", () => {
    connection.answers.delete(stream);
    connection.checksWithoutCall = 0;
  });
}
