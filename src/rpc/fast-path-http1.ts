import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastPath, FastReply } from "./fast-path.ts";
import { NO_BODY, type Received } from "./fast-path-body.ts";

/**
 * Answers a request over HTTP/1.1 on the fast path, or has `slow` do it.
 *
 * @param slow - takes what was already read of the body
 */
export function answerFastHttp1(
  fast: FastPath,
  incoming: IncomingMessage,
  response: ServerResponse,
  slow: (received?: Received) => void,
): void {
  const { method, url, headers, rawHeaders } = incoming;
  const request = fast.read(method, url, headers.host, headers, rawHeaders);
  if (request === undefined || request.kind === "grpc" || request.kind === "stream") {
    slow();
    return;
  }

  const answer = {
    take(received: Received) {
      fast.reply(request, received, answer);
    },
    takeReply(reply: FastReply | undefined, received: Received) {
      if (response.destroyed) return;
      if (reply === undefined) return slow(received);
      response.writeHead(reply.status, reply.headers).end(reply.body);
      const { log } = fast;
      if (log === undefined) return;
      const { remoteAddress } = incoming.socket;
      response.once("close", () =>
        log({ request, received, reply, http: "1.1", remoteAddress }, !response.writableFinished),
      );
    },
  };
  if (request.kind === "get") answer.take(NO_BODY);
  else fast.readBody(incoming, request.timeoutMs, answer);
}
