import type { OutgoingHttpHeaders } from "node:http";
import type { DescMethodUnary } from "@bufbuild/protobuf";
import { isCacheable } from "../call/contract.ts";
import { chosenRequestId } from "../call/request-id.ts";
import { corsHeaders } from "../http/cors.ts";
import type { Received } from "../http/small-body.ts";
import { cachingHeaders, isKnown } from "../ready/caching.ts";
import { FRAME_PREFIX_BYTES, isWorthCompressing, messageOf } from "../ready/frame.ts";
import type { ReadyAnswer, ReadyAnswers } from "../ready/ready-answers.ts";
import type { FastPathOptions } from "./fast-path-options.ts";
import { type FastReply, GRPC_OK, type Outlet } from "./fast-reply.ts";
import type { UnaryHead } from "./fast-request.ts";

type ReadyHost = Pick<FastPathOptions, "rpcs" | "cors" | "logger" | "accessLog" | "clock" | "requestId" | "peerOf">;

/** Answers a request that is all there, now or later, or has connect do it. */
export type AnswerUnary = (request: UnaryHead, received: Received, outlet: Outlet) => void;

// Longer requests of cacheable RPCs exist, but nobody looks for ready answers to them.
const MAX_READY_BYTES = 4096;

const PLAIN_GRPC: OutgoingHttpHeaders = { "content-type": "application/grpc+proto" };

/** Ready answers on the fast path: from the bytes of a request to those of an answer, past the handler. */
export class FastReady {
  readonly #host: ReadyHost;
  readonly #answers: ReadyAnswers;
  readonly #otherwise: AnswerUnary;
  readonly #cacheable = new Set<DescMethodUnary>();
  readonly #isLogged: boolean;

  /** @param otherwise - answers what no ready answer is for */
  constructor(host: ReadyHost, answers: ReadyAnswers, otherwise: AnswerUnary) {
    this.#host = host;
    this.#answers = answers;
    this.#otherwise = otherwise;
    for (const { method } of host.rpcs.values()) if (isCacheable(method)) this.#cacheable.add(method);
    this.#isLogged = host.logger.isLevelEnabled("debug");
  }

  /** Answers a request that is all there, as an {@link AnswerUnary}. */
  answer(request: UnaryHead, received: Received, outlet: Outlet): void {
    const { method, kind, question } = request;
    const { bytes } = received;
    if (bytes.length > MAX_READY_BYTES || !this.#cacheable.has(method)) {
      this.#otherwise(request, received, outlet);
      return;
    }
    const start = kind === "grpc" ? FRAME_PREFIX_BYTES : 0;
    const kept = this.#answers.kept(method, question?.key ?? bytes.toString("latin1", start));
    if (kept !== undefined) this.#reply(kept, request, received, outlet);
    else this.#ask(question?.message ?? bytes.subarray(start), request, received, outlet);
  }

  #ask(message: Uint8Array, request: UnaryHead, received: Received, outlet: Outlet): void {
    const { clock } = this.#host;
    const waitedSince = received.waitedSince ?? clock.now();
    const since = { ...received, waitedSince };
    this.#answers.answer(request.method, message).then(
      (answer) => {
        if (outlet.isGone) return;
        if (clock.now() - waitedSince < request.timeoutMs) this.#reply(answer, request, since, outlet);
        else outlet.slow(since);
      },
      // The handler is asked again, and tells the caller and the log what is wrong.
      () => outlet.isGone || this.#otherwise(request, since, outlet),
    );
  }

  #reply(answer: ReadyAnswer, request: UnaryHead, received: Received, outlet: Outlet): void {
    const reply = this.#replyOf(answer, request);
    if (reply === undefined) {
      this.#otherwise(request, received, outlet);
      return;
    }
    if (this.#isLogged) this.#log(request, received, outlet, reply.status);
    outlet.write(reply);
  }

  /** Undefined if the answer has to be compressed. */
  #replyOf(answer: ReadyAnswer, { kind, compressible, headers: given }: UnaryHead): FastReply | undefined {
    const { frame, reuse } = answer;
    const { cors } = this.#host;
    if (compressible && isWorthCompressing(frame)) return;

    const id = chosenRequestId(given["x-request-id"]);
    if (kind === "grpc" && id === undefined && cors === undefined && !compressible) {
      return { status: 200, headers: PLAIN_GRPC, body: frame, trailers: GRPC_OK };
    }
    const headers: OutgoingHttpHeaders =
      kind === "get"
        ? cachingHeaders(answer, this.#answers.now())
        : { "content-type": kind === "grpc" ? "application/grpc+proto" : "application/proto" };
    if (id !== undefined) headers["x-request-id"] = id;
    if (cors !== undefined) Object.assign(headers, corsHeaders(cors, given.origin, false));
    if (kind === "grpc") {
      if (compressible) headers["grpc-encoding"] = "gzip";
      return { status: 200, headers, body: frame, trailers: GRPC_OK };
    }
    if (kind === "get") {
      if (isKnown(reuse?.etag, given["if-none-match"])) return { status: 304, headers, body: undefined };
      headers["content-type"] = "application/proto";
    }
    const body = messageOf(frame);
    headers["content-length"] = body.length;
    return { status: 200, headers, body };
  }

  #log({ headers, path, kind }: UnaryHead, { waitedSince }: Received, outlet: Outlet, status: number): void {
    const { accessLog, clock, requestId, peerOf } = this.#host;
    const call = {
      requestId: requestId(headers["x-request-id"]),
      method: path,
      protocol: kind === "grpc" ? "grpc" : "connect",
      peer: peerOf(outlet.remoteAddress, headers), // nobody knows it any more once the exchange is over
      readOnly: true,
    };
    const start = waitedSince ?? clock.now();
    outlet.whenClosed((cut) => accessLog(call, { http: outlet.http, status, cut, start }));
  }
}
