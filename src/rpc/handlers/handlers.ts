import type { DescService } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { type ConnectRouter, createConnectRouter, type HandlerContext } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { compressionGzip } from "@connectrpc/connect-node";
import { Reason, Refusal } from "../../core/refusal.ts";
import { callOf } from "../call/context.ts";
import { connectErrorOf } from "../call/errors.ts";
import type { Limits } from "../call/limits.ts";
import type { OpenStreams } from "../call/open-streams.ts";
import { describeProtocolError } from "../call/outcome.ts";
import { COMPRESS_MIN_BYTES } from "../ready/frame.ts";
import { guard } from "./guard.ts";
import { Health, healthService } from "./health.ts";
import type { Readiness } from "./readiness.ts";
import { registerReflection } from "./reflection.ts";
import { routerWithin } from "./router.ts";
import { collectUnaryRpcs, type UnaryRpc } from "./unary-rpcs.ts";

// Of bytes that are not UTF-8 connect would make U+FFFD, all of them the same: two passwords in Latin-1 would be one. It takes the
// decoder from these options, although their type doesn't name it.
const jsonOptions = { ignoreUnknownFields: false, textDecoder: new TextDecoder("utf-8", { fatal: true }) };

/** The RPCs of a server. */
export type Handlers = {
  /** The handler of an RPC's path. */
  get(path: string): UniversalHandler | undefined;
  /** Those that can be called without connect, by path. */
  readonly unary: ReadonlyMap<string, UnaryRpc>;
  /**
   * A handler that can write an error in the protocol of a request with this content type, whatever path was called; used
   * with `Call.refuseWith`. Undefined if the request is none of an RPC.
   */
  forErrors(method: string | undefined, contentType: string): UniversalHandler | undefined;
};

type HandlersOptions = {
  readonly routes: (router: ConnectRouter) => void;
  readonly limits: Limits;
  readonly readiness: Readiness;
  readonly streams: OpenStreams;
};

/** Builds the handlers of `routes`, and of health and reflection beside them. */
export function createHandlers({ routes, limits, readiness, streams }: HandlersOptions): Handlers {
  const guards = [guard(streams, limits)];
  const router = createConnectRouter({
    interceptors: guards,
    requestGate: (context) => enter(context, limits.maxMessageBytes),
    readMaxBytes: limits.maxMessageBytes,
    // Brotli, connect's other default, costs far more processor time than a stranger should be able to ask for.
    acceptCompression: [compressionGzip],
    compressMinBytes: COMPRESS_MIN_BYTES,
    jsonOptions,
  });
  const unary = new Map<string, UnaryRpc>();
  const collecting = collectUnaryRpcs(routerWithin(router, guards), unary);
  routes(collecting);
  const services = new Set<DescService>(router.handlers.map((handler) => handler.service));
  collecting.service(Health, healthService(readiness, new Set([...services].map((service) => service.typeName))));
  registerReflection(router, [...services, Health]);

  const byPath = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  const samples = router.handlers.filter((handler) => handler.service === Health);
  return {
    get: (path) => byPath.get(path),
    unary,
    forErrors: (method, contentType) =>
      method === "POST" ? samples.find((handler) => handler.supportedContentType(contentType)) : undefined,
  };
}

// Runs for every call before its body is read.
function enter(context: HandlerContext, maxMessageBytes: number): void {
  const call = callOf(context.values);
  const { signal } = context;
  call.protocol = context.protocolName;
  const over = () => {
    describeProtocolError(signal.reason, call, maxMessageBytes);
    call.stopReading?.(signal.reason); // with the error that was just described, which connect then writes
  };
  if (signal.aborted) over();
  else signal.addEventListener("abort", over, { once: true });
  signal.throwIfAborted();
  if (call.refuseWith !== undefined) {
    call.refusal = call.refuseWith;
    throw connectErrorOf(call.refuseWith);
  }
  if (context.requestMethod === "GET") checkGet(context.url);
}

// connect would answer "internal error" where the message of a Connect GET is not base64.
function checkGet(url: string): void {
  const query = new URL(url).searchParams;
  if (query.get("base64") !== "1") return;
  try {
    base64Decode(query.get("message") ?? "");
  } catch {
    throw connectErrorOf(
      new Refusal(Reason.MALFORMED, "the message is not base64", { metadata: { field: "message" } }),
    );
  }
}
