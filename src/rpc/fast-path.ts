import type { IncomingHttpHeaders } from "node:http";
import type { ServerHttp2Stream } from "node:http2";
import type { DescMethodServerStreaming, DescMethodUnary } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import type { AccessLog } from "./access-log.ts";
import { type CorsOptions, corsHeaders } from "./cors.ts";
import { type BodyReader, createBodyReader, type Received } from "./fast-path-body.ts";
import {
  createHeadReader,
  type FastRequest,
  type HeadReader,
  isOneFrame,
  type StreamRequest,
  type UnaryRequest,
} from "./fast-path-request.ts";
import { FastStream } from "./fast-stream.ts";
import { COMPRESS_MIN_BYTES, type Handlers } from "./handlers.ts";
import type { Limits } from "./limits.ts";
import type { OpenStreams } from "./open-streams.ts";
import { cachingHeaders, FRAME_PREFIX_BYTES, isKnown, type ReadyAnswer, type ReadyAnswers } from "./ready-answers.ts";
import type { MessageSource, ReadyStreams } from "./ready-streams.ts";
import { chosenRequestId, type RequestIds } from "./request-id.ts";
import type { PeerFinder } from "./trusted-proxies.ts";

/** An answer that leaves on the fast path. */
export type FastReply = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number>>;
  readonly body: Uint8Array | undefined;
};

/**
 * The short way to the answer of a cacheable RPC, or to a stream of ready messages: from the request's bytes to bytes that
 * are ready, past connect. It takes only the plain case of each protocol (gRPC, for what is no stream Connect POST and GET,
 * binary messages, requests that are not compressed) and only ever begins what goes well; everything else, and every refusal
 * of a request, is left to connect. Tests hold the two ways beside each other.
 */
export type FastPath = {
  /** The request, if its head allows this way. */
  readonly read: HeadReader;
  /** Reads the body of a request for one answer, or for a stream. */
  readonly readBody: BodyReader;
  readonly readStreamBody: BodyReader;
  /** Has the answer taken, at once if it is at hand; without a reply, if connect has to give it. */
  reply(request: UnaryRequest, received: Received, taker: ReplyTaker): void;
  /** Answers with a stream; false if connect has to. */
  stream(request: StreamRequest, received: Received, http2: ServerHttp2Stream): boolean;
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

/** Who waits for a reply. */
export type ReplyTaker = {
  /** @param received - as it was, but that it says since when the exchange has taken */
  takeReply(reply: FastReply | undefined, received: Received): void;
};

type FastPathOptions = {
  readonly answers?: ReadyAnswers | undefined;
  readonly methods: Handlers["cacheable"];
  readonly readyStreams?: ReadyStreams | undefined;
  readonly streams: OpenStreams;
  readonly cors: CorsOptions | undefined;
  readonly limits: Limits;
  readonly logger: Logger;
  readonly accessLog: AccessLog;
  readonly clock: Clock;
  readonly requestId: RequestIds;
  readonly peerOf: PeerFinder;
  readonly stopping: () => boolean;
};

// Longer requests of cacheable RPCs exist, but there is no hurry to answer them.
const MAX_BODY_BYTES = 4096;

// How long to wait for a body that did not come with its head, before connect does the waiting.
const PATIENCE_MS = 100;

const PLAIN_GRPC = { "content-type": "application/grpc+proto" };

/** Creates the fast path to `answers` and `readyStreams`. */
export function createFastPath(options: FastPathOptions): FastPath {
  const { answers, readyStreams, cors, limits, logger, accessLog, clock, requestId, peerOf, stopping } = options;
  const methods = new Map<string, DescMethodUnary | DescMethodServerStreaming>(answers && options.methods);
  for (const method of readyStreams?.keys() ?? []) methods.set(`/${method.parent.typeName}/${method.name}`, method);
  const read = createHeadReader(methods, limits);
  const maxBodyBytes = Math.min(MAX_BODY_BYTES, limits.maxMessageBytes);

  const log = ({ request, received, reply, http, remoteAddress }: FastAnswered, cut: boolean) =>
    accessLog(true, {
      requestId: requestId(request.headers["x-request-id"]),
      method: request.path,
      protocol: request.kind === "grpc" ? "grpc" : "connect",
      http,
      peer: peerOf(remoteAddress, request.headers),
      status: reply.status,
      outcome: cut ? "cut" : "ok",
      ms: received.waitedSince === undefined ? 0 : clock.now() - received.waitedSince,
    });

  const replyWith = (answer: ReadyAnswer, { kind, compressible, headers: given }: UnaryRequest) => {
    const { frame, reuse } = answer;
    const length = frame.length - FRAME_PREFIX_BYTES;
    if (compressible && length >= COMPRESS_MIN_BYTES) return;

    const id = chosenRequestId(given["x-request-id"]);
    if (kind === "grpc" && id === undefined && cors === undefined && !compressible) {
      return { status: 200, headers: PLAIN_GRPC, body: frame };
    }
    const headers: Record<string, string | number> =
      kind === "get"
        ? cachingHeaders(answer, answers?.now() ?? 0)
        : { "content-type": kind === "grpc" ? "application/grpc+proto" : "application/proto" };
    if (id !== undefined) headers["x-request-id"] = id;
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
  };

  return {
    read: (...head) => (stopping() ? undefined : read(...head)),
    readBody: createBodyReader(clock, maxBodyBytes, PATIENCE_MS),
    readStreamBody: createBodyReader(clock, FRAME_PREFIX_BYTES + limits.maxMessageBytes, PATIENCE_MS),
    log: logger.isLevelEnabled("debug") ? log : undefined,

    reply(request, received, taker) {
      const { method, kind, question, timeoutMs } = request;
      const { bytes, rest, waitedSince } = received;
      const start = kind === "grpc" ? FRAME_PREFIX_BYTES : 0;
      const fits = (question?.message ?? bytes).length - start <= limits.maxMessageBytes;
      if (answers === undefined || rest !== undefined || (kind === "grpc" && !isOneFrame(bytes)) || !fits) {
        return taker.takeReply(undefined, received);
      }
      const kept = answers.kept(method, question?.key ?? bytes.toString("latin1", start));
      if (kept !== undefined) return taker.takeReply(replyWith(kept, request), received);

      const since = { ...received, waitedSince: waitedSince ?? clock.now() };
      answers.answer(method, question?.message ?? bytes.subarray(start)).then(
        (answer) => {
          const inTime = clock.now() - since.waitedSince < timeoutMs;
          taker.takeReply(inTime ? replyWith(answer, request) : undefined, since);
        },
        // connect asks again, and tells the caller and the log what is wrong.
        () => taker.takeReply(undefined, since),
      );
    },

    stream({ method, path, compressible, timeoutMs, headers: given }, { bytes, rest, waitedSince }, http2) {
      const open = readyStreams?.get(method);
      if (open === undefined || stopping() || rest !== undefined || !isOneFrame(bytes)) return false;
      const now = clock.now();
      const start = waitedSince ?? now;
      const call = {
        method: path,
        readOnly: method.idempotency === Idempotency.NO_SIDE_EFFECTS,
        requestId: requestId(given["x-request-id"]),
        peer: peerOf(http2.session?.socket.remoteAddress, given),
        start,
      };
      if (options.streams.refusal(call.peer) !== undefined) return false; // connect tells so
      const stream = new FastStream(options, http2, call, compressible);
      let source: MessageSource;
      try {
        source = open(bytes.subarray(FRAME_PREFIX_BYTES), () => stream.wake(), headersOf(given));
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
    },
  };
}

// In a function of its own: what a closure knows of, all closures beside it hold on to, and one of them lasts.
function headersOf(given: IncomingHttpHeaders): Pick<Headers, "get"> {
  return {
    get(name) {
      const value = given[name.toLowerCase()];
      return Array.isArray(value) ? value.join(", ") : (value ?? null);
    },
  };
}
