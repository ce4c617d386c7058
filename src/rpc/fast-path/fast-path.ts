import type { OutgoingHttpHeaders } from "node:http";
import type { ServerHttp2Stream } from "node:http2";
import { type DescMethodServerStreaming, type DescMethodUnary, fromBinary, type Message } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import type { Logger } from "pino";
import type { Clock } from "../../core/clock.ts";
import { createCall } from "../call/context.ts";
import type { Limits } from "../call/limits.ts";
import type { OpenStreams } from "../call/open-streams.ts";
import { chosenRequestId, type RequestIds } from "../call/request-id.ts";
import { COMPRESS_MIN_BYTES, type Handlers } from "../handlers/handlers.ts";
import { isReadOnly } from "../handlers/health.ts";
import type { AccessLog } from "../http/access-log.ts";
import { type CorsOptions, corsHeaders } from "../http/cors.ts";
import { type BodyReader, createBodyReader, type Received } from "../http/small-body.ts";
import type { PeerFinder } from "../http/trusted-proxies.ts";
import {
  cachingHeaders,
  FRAME_PREFIX_BYTES,
  isCacheable,
  isKnown,
  type ReadyAnswer,
  type ReadyAnswers,
} from "../ready/ready-answers.ts";
import type { MessageSource, ReadyStreams } from "../ready/ready-streams.ts";
import { FastCall } from "./fast-call.ts";
import { GRPC_OK, type Outlet } from "./fast-reply.ts";
import {
  createHeadReader,
  type HeadReader,
  isOneFrame,
  type StreamRequest,
  type UnaryRequest,
} from "./fast-request.ts";
import { FastStream } from "./fast-stream.ts";
import { RequestHeaders } from "./request-headers.ts";

/**
 * The short way past connect to the answer of a unary RPC, or to a stream of ready messages. Where an answer is ready it goes
 * from the request's bytes to bytes; else {@link FastCall} calls the handler. It takes only the plain case of each protocol
 * (gRPC, for what is no stream Connect POST, for what is cacheable Connect GET, binary messages, requests that are not
 * compressed and could be read); everything else, and every refusal of a request, is left to connect. Tests hold the two ways
 * beside each other.
 */
export type FastPath = {
  /** The request, if its head allows this way. */
  readonly read: HeadReader;
  /** Reads the body of such a request. */
  readonly readBody: BodyReader;
  /** Answers, now or later, or has connect do it. */
  answer(request: UnaryRequest, received: Received, outlet: Outlet): void;
  /** Answers with a stream; false if connect has to. */
  stream(request: StreamRequest, received: Received, http2: ServerHttp2Stream): boolean;
};

type FastPathOptions = {
  readonly answers?: ReadyAnswers | undefined;
  readonly rpcs: Handlers["unary"];
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

// Longer requests of cacheable RPCs exist, but nobody looks for ready answers to them.
const MAX_READY_BYTES = 4096;

// How long to wait for a body that did not come with its head, before connect does the waiting.
const PATIENCE_MS = 100;

const PLAIN_GRPC: OutgoingHttpHeaders = { "content-type": "application/grpc+proto" };

/** Creates the fast path to `rpcs`, past them to `answers`, and to `readyStreams`. */
export function createFastPath(options: FastPathOptions): FastPath {
  const { rpcs, answers, readyStreams, cors, limits, logger, accessLog, clock, requestId, peerOf, stopping } = options;
  const methods = new Map<string, DescMethodUnary | DescMethodServerStreaming>();
  const cacheable = new Set<DescMethodUnary>();
  for (const [path, { method }] of rpcs) {
    methods.set(path, method);
    if (answers !== undefined && isCacheable(method)) cacheable.add(method);
  }
  for (const method of readyStreams?.keys() ?? []) methods.set(`/${method.parent.typeName}/${method.name}`, method);
  const read = createHeadReader(methods, limits);
  const isReadLogged = logger.isLevelEnabled("debug");

  const logRead = (
    { headers, path, kind }: UnaryRequest,
    { waitedSince }: Received,
    outlet: Outlet,
    status: number,
  ) => {
    const call = {
      requestId: requestId(headers["x-request-id"]),
      method: path,
      protocol: kind === "grpc" ? "grpc" : "connect",
      peer: peerOf(outlet.remoteAddress, headers), // nobody knows it any more once the exchange is over
      readOnly: true,
    };
    const start = waitedSince ?? clock.now();
    outlet.whenClosed((cut) => accessLog(call, { http: outlet.http, status, cut, start }));
  };

  const replyWith = (answer: ReadyAnswer, { kind, compressible, headers: given }: UnaryRequest) => {
    const { frame, reuse } = answer;
    const length = frame.length - FRAME_PREFIX_BYTES;
    if (compressible && length >= COMPRESS_MIN_BYTES) return;

    const id = chosenRequestId(given["x-request-id"]);
    if (kind === "grpc" && id === undefined && cors === undefined && !compressible) {
      return { status: 200, headers: PLAIN_GRPC, body: frame, trailers: GRPC_OK };
    }
    const headers: OutgoingHttpHeaders =
      kind === "get"
        ? cachingHeaders(answer, answers?.now() ?? 0)
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
    headers["content-length"] = length;
    return { status: 200, headers, body: frame.subarray(FRAME_PREFIX_BYTES) };
  };

  const call = (head: UnaryRequest, received: Received, outlet: Outlet) => {
    const rpc = rpcs.get(head.path);
    const message = rpc && head.kind !== "get" ? messageIn(rpc.method, head, received) : undefined;
    if (rpc === undefined || message === undefined || stopping()) return outlet.slow(received);
    const start = received.waitedSince ?? clock.now();
    const call = createCall(logger, {
      requestId: requestId(head.headers["x-request-id"]),
      peer: peerOf(outlet.remoteAddress, head.headers),
      method: head.path,
      protocol: head.kind === "grpc" ? "grpc" : "connect",
      readOnly: isReadOnly(rpc.method),
    });
    const deadline = start + Math.min(head.timeoutMs, limits.maxDeadlineMs);
    new FastCall(options, { rpc, head, call, outlet, start, deadline }).begin(message);
  };

  const reply = (answer: ReadyAnswer, request: UnaryRequest, received: Received, outlet: Outlet) => {
    const made = replyWith(answer, request);
    if (made === undefined) return call(request, received, outlet);
    if (isReadLogged) logRead(request, received, outlet, made.status);
    outlet.write(made);
  };

  return {
    read: (...head) => (stopping() ? undefined : read(...head)),
    readBody: createBodyReader(clock, FRAME_PREFIX_BYTES + limits.maxMessageBytes, PATIENCE_MS),

    answer(request, received, outlet) {
      const { method, kind, question, timeoutMs } = request;
      const { bytes, rest, waitedSince } = received;
      const start = kind === "grpc" ? FRAME_PREFIX_BYTES : 0;
      const fits = (question?.message ?? bytes).length - start <= limits.maxMessageBytes;
      if (rest !== undefined || (kind === "grpc" && !isOneFrame(bytes)) || !fits) return outlet.slow(received);
      if (answers === undefined || !cacheable.has(method) || bytes.length > MAX_READY_BYTES) {
        return call(request, received, outlet);
      }
      const kept = answers.kept(method, question?.key ?? bytes.toString("latin1", start));
      if (kept !== undefined) return reply(kept, request, received, outlet);

      const since = { ...received, waitedSince: waitedSince ?? clock.now() };
      answers.answer(method, question?.message ?? bytes.subarray(start)).then(
        (answer) => {
          if (outlet.isGone) return;
          if (clock.now() - since.waitedSince < timeoutMs) reply(answer, request, since, outlet);
          else outlet.slow(since);
        },
        // The handler is asked again, and tells the caller and the log what is wrong.
        () => outlet.isGone || call(request, since, outlet),
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
        source = open(bytes.subarray(FRAME_PREFIX_BYTES), () => stream.wake(), new RequestHeaders(given));
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

/** The message of a request; undefined if it is none, of which connect tells the caller. */
function messageIn({ input }: DescMethodUnary, { kind }: UnaryRequest, { bytes }: Received): Message | undefined {
  try {
    // A copy: what a handler keeps of it must not keep all that came on the connection.
    return fromBinary(input, new Uint8Array(kind === "grpc" ? bytes.subarray(FRAME_PREFIX_BYTES) : bytes));
  } catch {
    return;
  }
}
