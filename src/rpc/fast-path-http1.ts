import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastPath } from "./fast-path.ts";
import { NO_BODY, type Received } from "./fast-path-body.ts";
import type { RequestHead } from "./fast-path-request.ts";

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
  const head: RequestHead = {
    method: incoming.method ?? "",
    url: incoming.url ?? "",
    authority: incoming.headers.host ?? "",
    headers: incoming.headers,
    rawHeaders: incoming.rawHeaders,
  };
  const request = fast.read(head);
  if (request === undefined || request.kind === "grpc") {
    slow();
    return;
  }

  const answer = (received: Received) => {
    const reply = fast.reply(request, head, received);
    if (reply === undefined) return slow(received);
    response.writeHead(reply.status, reply.headers).end(reply.body);
    fast.log(request, "1.1", incoming.socket.remoteAddress, reply, received, (done) =>
      response.once("close", () => done(!response.writableFinished)),
    );
  };
  if (request.kind === "get") answer(NO_BODY);
  else fast.readBody(incoming, request.timeoutMs, answer);
}
