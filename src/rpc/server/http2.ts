import http2 from "node:http2";
import type { Duplex } from "node:stream";
import type { Clock } from "../../core/clock.ts";
import type { Limits } from "../call/limits.ts";
import { answerFastHttp2, type Http2Call } from "../fast-path/fast-http2.ts";
import type { Received } from "../http/small-body.ts";
import type { Dispatch } from "./dispatch.ts";

/** HTTP/2 for connections that somebody else accepts. */
export type Http2 = {
  /** Takes a connection over. */
  serve(socket: Duplex): void;
  /** Takes no new calls (GOAWAY), and closes each connection after its last answer. */
  drain(): void;
};

/** What tells whether a connection is idle. */
type Activity = {
  /** Open calls, but for single answers on the fast path, which are over before a connection can be called idle. */
  calls: number;
  /** How many checks have found no call since the last one. */
  checksWithoutCall: number;
};

// How often a connection without calls is looked at before it is closed: that much more than the limit it may live.
const IDLE_CHECKS = 4;

// What Node takes over HTTP/1.1.
const MAX_HEADERS = 2000;

/** Creates an HTTP/2 server that never listens. */
export function createHttp2(dispatch: Dispatch, limits: Limits, clock: Clock): Http2 {
  const sessions = new Map<http2.Http2Session, Activity>();
  const server = http2.createServer({
    settings: { enablePush: false, maxConcurrentStreams: limits.maxStreamsPerConnection },
    // Beyond it the stream is reset without a Reason; what counts is the bytes of all, as over HTTP/1.1. Node's default is 128.
    maxHeaderListPairs: MAX_HEADERS,
    // A check of what is sent, on every answer; ours name no header twice.
    strictSingleValueFields: false,
  });

  server.on("session", (session) => {
    sessions.set(session, { calls: 0, checksWithoutCall: 0 });
    session.once("close", () => sessions.delete(session));
  });

  // Node's own timeout is set anew with every frame, which costs more than everything else here.
  const checkIdle = () => {
    for (const [session, activity] of sessions) {
      if (activity.calls === 0 && activity.checksWithoutCall++ >= IDLE_CHECKS) session.close();
    }
    stopChecking = clock.setTimer(limits.idleTimeoutMs / IDLE_CHECKS, checkIdle);
  };
  let stopChecking = clock.setTimer(limits.idleTimeoutMs / IDLE_CHECKS, checkIdle);

  // The only stream listener, and no request listener: with both, a stream would be answered twice.
  server.on("stream", (stream, headers, flags, rawHeaders) => {
    const activity = stream.session && sessions.get(stream.session);
    if (activity !== undefined) activity.checksWithoutCall = 0;
    const call = new StreamCall(dispatch, stream, headers, rawHeaders, activity);
    answerFastHttp2(dispatch.fast, call, flags);
  });

  return {
    serve: (socket) => void server.emit("connection", socket),
    drain() {
      stopChecking();
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
  readonly #activity: Activity | undefined;

  constructor(
    dispatch: Dispatch,
    stream: http2.ServerHttp2Stream,
    headers: http2.IncomingHttpHeaders,
    rawHeaders: readonly string[],
    activity: Activity | undefined,
  ) {
    this.stream = stream;
    this.headers = headers;
    this.rawHeaders = rawHeaders;
    this.#dispatch = dispatch;
    this.#activity = activity;
  }

  slow(received?: Received): void {
    this.lasts();
    const request = new http2.Http2ServerRequest(this.stream, this.headers, {}, this.rawHeaders);
    this.#dispatch.answer(request, new http2.Http2ServerResponse(this.stream), received);
  }

  lasts(): void {
    countUntilClosed(this.stream, this.#activity);
  }
}

// Apart from the call, so that a long stream doesn't hold on to what that one knows.
function countUntilClosed(stream: http2.ServerHttp2Stream, activity: Activity | undefined): void {
  if (activity === undefined) return;
  activity.calls++;
  stream.once("close", () => {
    activity.calls--;
    activity.checksWithoutCall = 0;
  });
}
