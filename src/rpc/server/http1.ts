import http from "node:http";
import type { Duplex } from "node:stream";
import type { Clock } from "../../core/clock.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import type { Limits } from "../call/limits.ts";
import { answerFastHttp1 } from "../fast-path/fast-http1.ts";
import { headersTooLarge } from "../http/header-size.ts";
import { httpRefusal } from "../http/http-response.ts";
import type { Received } from "../http/small-body.ts";
import type { Dispatch } from "./dispatch.ts";
import { cutUntakenAnswers } from "./untaken-answers.ts";

const CHECK_INTERVAL_MS = 5_000;

/** HTTP/1.1 for connections that somebody else accepts. */
export type Http1 = {
  /** Takes a connection over. */
  serve(socket: Duplex): void;
  /** Closes connections without a request, and the others after their answer. */
  drain(): void;
};

/** Creates an HTTP/1.1 server that never listens. */
export function createHttp1(dispatch: Dispatch, limits: Limits, clock: Clock): Http1 {
  const open = new Map<Duplex, Set<http.ServerResponse>>();
  let draining = false;

  // One function for all responses: this is on the way of every request.
  function finished(this: http.ServerResponse): void {
    const { socket } = this.req;
    const responses = open.get(socket);
    responses?.delete(this);
    if (draining && responses?.size === 0) socket.destroySoon();
  }

  const server = http.createServer(
    {
      maxHeaderSize: limits.maxHeaderBytes,
      headersTimeout: limits.firstBytesTimeoutMs,
      // Longer than the dispatcher gives the body, so that its typed refusal comes first.
      requestTimeout: limits.firstBytesTimeoutMs + limits.maxDeadlineMs,
      keepAliveTimeout: limits.idleTimeoutMs,
      connectionsCheckingInterval: Math.min(limits.firstBytesTimeoutMs, CHECK_INTERVAL_MS),
    },
    (request, response) => {
      open.get(request.socket)?.add(response);
      response.on("close", finished);
      if (draining) response.setHeader("connection", "close");
      const slow = (received?: Received) => dispatch.answer(request, response, received);
      answerFastHttp1(dispatch.fast, request, response, slow);
    },
  );
  server.on("clientError", (error, socket) => answerParserError(error, socket, limits));
  const stopCutting = cutUntakenAnswers({
    *connections() {
      for (const [socket, answers] of open) yield { socket, answers };
    },
    cut: (_, socket) => socket.destroy(),
    takeMs: limits.maxDeadlineMs,
    clock,
  });
  // Only a listening server watches over its headers and request timeouts; this one is told that it is.
  server.emit("listening");

  return {
    serve(socket) {
      open.set(socket, new Set());
      socket.once("close", () => open.delete(socket));
      server.emit("connection", socket);
    },
    drain() {
      draining = true;
      stopCutting();
      server.close(); // stops the timer behind those timeouts
      for (const [socket, responses] of open) {
        if (responses.size === 0) socket.destroy();
        for (const response of responses) if (!response.headersSent) response.setHeader("connection", "close");
      }
    },
  };
}

// The parser refused the request before it was one: the answer is written by hand, in the form of a Connect error.
function answerParserError(error: NodeJS.ErrnoException, socket: Duplex, limits: Limits): void {
  if (!socket.writable || error.code === "ECONNRESET") return void socket.destroy();
  const [statusLine, refusal] = parserError(error.code, limits);
  const { headers, body } = httpRefusal(refusal);
  const head = [
    `HTTP/1.1 ${statusLine}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `content-length: ${body.length}`,
    "connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${Buffer.from(body as Uint8Array)}`);
}

function parserError(code: string | undefined, limits: Limits): [string, Refusal] {
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return ["431 Request Header Fields Too Large", headersTooLarge(limits)];
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return ["408 Request Timeout", new Refusal(Reason.DEADLINE_EXCEEDED, "the request took too long")];
    default:
      return ["400 Bad Request", new Refusal(Reason.MALFORMED, "not an HTTP/1.1 request")];
  }
}
