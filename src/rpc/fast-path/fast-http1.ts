import type { IncomingMessage, ServerResponse } from "node:http";
import { TLSSocket } from "node:tls";
import { type BodyTaker, NO_BODY, type Received } from "../http/small-body.ts";
import type { FastPath } from "./fast-path.ts";
import type { FastReply, Outlet } from "./fast-reply.ts";
import type { UnaryHead } from "./fast-request.ts";

// Node writes a text together with the head before it, but bytes in a piece of their own, which takes longer than to turn so
// few into a text.
const MAX_TEXT_BYTES = 16_384;

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

  const answer = new FastAnswer(fast, request, response, slow);
  if (request.kind === "get") answer.take(NO_BODY);
  else fast.readBody(incoming, request.timeoutMs, answer);
}

class FastAnswer implements BodyTaker, Outlet {
  readonly http = "1.1";
  readonly #fast: FastPath;
  readonly #request: UnaryHead;
  readonly #response: ServerResponse;
  readonly #slow: (received: Received) => void;

  constructor(fast: FastPath, request: UnaryHead, response: ServerResponse, slow: (received: Received) => void) {
    this.#fast = fast;
    this.#request = request;
    this.#response = response;
    this.#slow = slow;
  }

  take(received: Received): void {
    this.#fast.answer(this.#request, received, this);
  }

  get remoteAddress(): string | undefined {
    return this.#response.req.socket.remoteAddress;
  }

  get encrypted(): boolean {
    return this.#response.req.socket instanceof TLSSocket;
  }

  get isGone(): boolean {
    return this.#response.destroyed;
  }

  slow(received: Received): void {
    if (!this.isGone) this.#slow(received);
  }

  write({ status, headers, body }: FastReply): void {
    if (this.isGone) return;
    const response = this.#response.writeHead(status, headers);
    if (body === undefined) response.end();
    else if (body.length > MAX_TEXT_BYTES) response.end(body);
    else response.end(Buffer.from(body.buffer, body.byteOffset, body.length).toString("latin1"), "latin1");
  }

  whenClosed(closed: (cut: boolean) => void): void {
    const response = this.#response;
    response.once("close", () => closed(!response.writableFinished));
  }
}
