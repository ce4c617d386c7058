import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { logCall } from "./access-log.ts";
import { type CorsOptions, corsHeaders } from "./cors.ts";
import { type BodyReader, createBodyReader, type Received } from "./fast-path-body.ts";
import { createHeadReader, type FastRequest, type HeadReader, isOneFrame } from "./fast-path-request.ts";
import { COMPRESS_MIN_BYTES, type Handlers } from "./handlers.ts";
import type { Limits } from "./limits.ts";
import { cachingHeaders, FRAME_PREFIX_BYTES, isKnown, type ReadyAnswers } from "./ready-answers.ts";
import type { RequestIds } from "./request-id.ts";
import type { PeerFinder } from "./trusted-proxies.ts";

/** An answer that leaves on the fast path. */
export type FastReply = {
  readonly status: number;
  /** Of this answer alone: may be changed. */
  readonly headers: Record<string, string | number>;
  readonly body: Uint8Array | undefined;
};

/**
 * The short way to the answer of a cacheable RPC: from the request's bytes to bytes that are ready, past connect. It takes
 * only the plain case of each protocol (gRPC, Connect POST and GET, binary messages, nothing compressed) and only ever
 * succeeds; everything else, and every refusal, is left to connect. A test holds the two ways beside each other.
 */
export type FastPath = {
  /** The request, if its head allows this way. */
  readonly read: HeadReader;
  /** Reads the body of such a request. */
  readonly readBody: BodyReader;
  /** The answer; undefined if connect has to give it. */
  reply(request: FastRequest, received: Received): FastReply | undefined;
  /** Has the access log tell of an answer that was given, when the exchange is over; undefined if nobody wants to know. */
  readonly log: ((answered: FastAnswered, cut: boolean) => void) | undefined;
};

/** What the access log needs to know of an answer. */
export type FastAnswered = {
  readonly request: FastRequest;
  readonly received: Received;
  readonly reply: FastReply;
  readonly http: "1.1" | "2.0";
  readonly remoteAddress: string | undefined;
};

type FastPathOptions = {
  readonly answers: ReadyAnswers;
  readonly methods: Handlers["cacheable"];
  readonly cors: CorsOptions | undefined;
  readonly limits: Limits;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly requestId: RequestIds;
  readonly peerOf: PeerFinder;
  readonly stopping: () => boolean;
};

// Longer requests of cacheable RPCs exist, but there is no hurry to answer them.
const MAX_BODY_BYTES = 4096;

// How long to wait for a body that did not come with its head, before connect does the waiting.
const PATIENCE_MS = 100;

/** Creates the fast path to `answers`. */
export function createFastPath(options: FastPathOptions): FastPath {
  const { answers, cors, limits, logger, clock, requestId, peerOf, stopping } = options;
  const read = createHeadReader(options.methods, limits);
  const maxBodyBytes = Math.min(MAX_BODY_BYTES, limits.maxMessageBytes);

  const log = ({ request, received, reply, http, remoteAddress }: FastAnswered, cut: boolean) =>
    logCall(logger.child({ requestId: reply.headers["x-request-id"] }), true, {
      method: request.path,
      protocol: request.kind === "grpc" ? "grpc" : "connect",
      http,
      peer: peerOf(remoteAddress, request.headers),
      status: reply.status,
      outcome: cut ? "cut" : "ok",
      ms: received.waitedSince === undefined ? 0 : clock.now() - received.waitedSince,
    });

  return {
    read: (...head) => (stopping() ? undefined : read(...head)),
    readBody: createBodyReader(clock, maxBodyBytes, PATIENCE_MS),
    log: logger.isLevelEnabled("debug") ? log : undefined,

    reply({ method, kind, question, compressible, headers: given }, { bytes, rest }) {
      if (rest !== undefined || (kind === "grpc" && !isOneFrame(bytes))) return;
      const start = kind === "grpc" ? FRAME_PREFIX_BYTES : 0;
      if ((question?.message ?? bytes).length - start > limits.maxMessageBytes) return;
      let answer = answers.kept(method, question?.key ?? bytes.toString("latin1", start));
      try {
        answer ??= answers.answer(method, question?.message ?? bytes.subarray(start));
      } catch {
        return; // connect asks again, and tells the caller and the log what is wrong
      }
      const { frame, reuse } = answer;
      const length = frame.length - FRAME_PREFIX_BYTES;
      if (compressible && length >= COMPRESS_MIN_BYTES) return;

      const headers: FastReply["headers"] =
        kind === "get"
          ? cachingHeaders(answer, answers.now())
          : { "content-type": kind === "grpc" ? "application/grpc+proto" : "application/proto" };
      headers["x-request-id"] = requestId(given["x-request-id"]);
      if (cors !== undefined) Object.assign(headers, corsHeaders(cors, given.origin, false));
      if (kind === "grpc") {
        if (compressible) headers["grpc-encoding"] = "gzip";
        return { status: 200, headers, body: frame };
      }
      if (kind === "get") {
        if (isKnown(reuse?.etag, given["if-none-match"])) return { status: 304, headers, body: undefined };
        headers["content-type"] = "application/proto";
      }
      headers["content-length"] = length;
      return { status: 200, headers, body: frame.subarray(FRAME_PREFIX_BYTES) };
    },
  };
}
