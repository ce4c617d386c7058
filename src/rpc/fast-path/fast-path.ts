import type { ServerHttp2Stream } from "node:http2";
import type { DescMethodServerStreaming, DescMethodUnary } from "@bufbuild/protobuf";
import { type BodyReader, createBodyReader, type Received } from "../http/small-body.ts";
import { FRAME_PREFIX_BYTES, isOneFrame } from "../ready/frame.ts";
import { beginCall } from "./fast-call.ts";
import type { FastPathOptions } from "./fast-path-options.ts";
import { type AnswerUnary, FastReady } from "./fast-ready.ts";
import type { Outlet } from "./fast-reply.ts";
import { createHeadReader, type HeadReader, type StreamHead, type UnaryHead } from "./fast-request.ts";
import { beginStream } from "./fast-stream.ts";

/**
 * The short way past connect to the answer of a unary RPC, or to a stream of ready messages. Where an answer is ready it goes
 * from the request's bytes to bytes; else {@link beginCall} calls the handler. It takes only the plain case of each protocol
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
  answer(request: UnaryHead, received: Received, outlet: Outlet): void;
  /** Answers with a stream; false if connect has to. */
  stream(request: StreamHead, received: Received, http2: ServerHttp2Stream): boolean;
};

// How long to wait for a body that did not come with its head, before connect does the waiting.
const PATIENCE_MS = 100;

/** Creates the fast path to `rpcs`, past them to `answers`, and to `readyStreams`. */
export function createFastPath(options: FastPathOptions): FastPath {
  const { answers, limits, clock, stopping } = options;
  const read = createHeadReader(methodsOf(options), limits);
  const call: AnswerUnary = (request, received, outlet) => {
    if (stopping() || !beginCall(options, request, received, outlet)) outlet.slow(received);
  };
  const ready = answers && new FastReady(options, answers, call);
  return {
    read: (...head) => (stopping() ? undefined : read(...head)),
    readBody: createBodyReader(clock, FRAME_PREFIX_BYTES + limits.maxMessageBytes, PATIENCE_MS),
    answer(request, received, outlet) {
      if (!isWhole(request, received, limits.maxMessageBytes)) outlet.slow(received);
      else if (ready !== undefined) ready.answer(request, received, outlet);
      else call(request, received, outlet);
    },
    stream: (request, received, http2) => !stopping() && beginStream(options, request, received, http2),
  };
}

function methodsOf({ rpcs, readyStreams }: FastPathOptions) {
  const methods = new Map<string, DescMethodUnary | DescMethodServerStreaming>();
  for (const [path, { method }] of rpcs) methods.set(path, method);
  for (const method of readyStreams?.keys() ?? []) methods.set(`/${method.parent.typeName}/${method.name}`, method);
  return methods;
}

/** True if the request is all there, and one message that is not too large. Of anything else connect tells the caller. */
function isWhole({ kind, question }: UnaryHead, { bytes, rest }: Received, maxMessageBytes: number): boolean {
  if (rest !== undefined) return false;
  if (kind === "grpc") return isOneFrame(bytes) && bytes.length - FRAME_PREFIX_BYTES <= maxMessageBytes;
  return (question?.message ?? bytes).length <= maxMessageBytes;
}
