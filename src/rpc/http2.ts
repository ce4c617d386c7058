import http2 from "node:http2";
import type { Duplex } from "node:stream";
import type { Dispatch } from "./dispatch.ts";
import type { Received } from "./fast-path-body.ts";
import { answerFastHttp2 } from "./fast-path-http2.ts";
import type { Limits } from "./limits.ts";

/** HTTP/2 for connections that somebody else accepts. */
export type Http2 = {
  /** Takes a connection over. */
  serve(socket: Duplex): void;
  /** Takes no new calls (GOAWAY), and closes each connection after its last answer. */
  drain(): void;
};

/** Creates an HTTP/2 server that never listens. */
export function createHttp2(dispatch: Dispatch, limits: Limits): Http2 {
  // How many calls are open, but for those on the fast path, which are over before a connection can be called idle.
  const sessions = new Map<http2.Http2Session, { streams: number }>();
  const server = http2.createServer({
    settings: { enablePush: false, maxConcurrentStreams: limits.maxStreamsPerConnection },
  });

  server.on("session", (session) => {
    const open = { streams: 0 };
    sessions.set(session, open);
    session.once("close", () => sessions.delete(session));
    session.setTimeout(limits.idleTimeoutMs);
    session.on("timeout", () => {
      if (open.streams === 0) session.close();
    });
  });

  // The only stream listener, and no request listener: with both, a stream would be answered twice.
  server.on("stream", (stream, headers, flags, rawHeaders) => {
    const slow = (received?: Received) => {
      const open = stream.session && sessions.get(stream.session);
      if (open !== undefined) {
        open.streams++;
        stream.once("close", () => open.streams--);
      }
      const request = new http2.Http2ServerRequest(stream, headers, {}, rawHeaders);
      dispatch.answer(request, new http2.Http2ServerResponse(stream), received);
    };
    if (dispatch.fast === undefined) slow();
    else answerFastHttp2(dispatch.fast, stream, headers, flags, rawHeaders, slow);
  });

  return {
    serve: (socket) => void server.emit("connection", socket),
    drain() {
      for (const session of sessions.keys()) session.close();
    },
  };
}
