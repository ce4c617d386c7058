import type { OutgoingHttpHeaders } from "node:http";
import { create, type DescMethodUnary, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import {
  type ConnectError,
  createContextValues,
  type Interceptor,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import { codeToHttpStatus, errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { Reason, Refusal } from "../../core/refusal.ts";
import { type Call, callKey, createCall } from "../call/context.ts";
import { isReadOnly } from "../call/contract.ts";
import { connectErrorOf, internalRefusal } from "../call/errors.ts";
import { refusalOfHandler } from "../call/outcome.ts";
import type { UnaryRpc } from "../handlers/unary-rpcs.ts";
import { corsHeaders } from "../http/cors.ts";
import type { Received } from "../http/small-body.ts";
import { compressed, frameOf, isCompressed, isWorthCompressing, messageOf } from "../ready/frame.ts";
import { contextFor, createFastContext, type FastContext, nodeHeaders, requestOf, responseOf } from "./fast-context.ts";
import type { FastPathOptions } from "./fast-path-options.ts";
import { GRPC_OK, type Outlet } from "./fast-reply.ts";
import type { UnaryHead } from "./fast-request.ts";

/** What all calls of a server share. */
type CallHost = Pick<
  FastPathOptions,
  "rpcs" | "cors" | "limits" | "logger" | "accessLog" | "clock" | "requestId" | "peerOf"
>;

/** What a call is made of. */
type CallParts = {
  readonly rpc: UnaryRpc;
  readonly head: UnaryHead;
  readonly call: Call;
  readonly outlet: Outlet;
  /** When the request came, in milliseconds since 1970. */
  readonly start: number;
  /** Until when it has to be answered. */
  readonly deadline: number;
};

const CONNECT_HEADERS = { "content-type": "application/proto" };
const GRPC_HEADERS = { "content-type": "application/grpc+proto" };
const GRPC_GZIP_HEADERS = { ...GRPC_HEADERS, "grpc-encoding": "gzip" };

// Why signals are aborted that nobody listens to any more: without a reason, each would make an error with a stack.
const over = new Error("the call is over");
const gone = new Error("the caller has left");

/** Has the handler answer a request that is all there. False, and nothing was done, if connect has to. */
export function beginCall(host: CallHost, head: UnaryHead, received: Received, outlet: Outlet): boolean {
  const { rpcs, limits, logger, clock, requestId, peerOf } = host;
  const rpc = rpcs.get(head.path);
  const message = rpc && head.kind !== "get" ? messageIn(rpc.method, head, received) : undefined;
  if (rpc === undefined || message === undefined) return false;
  const start = received.waitedSince ?? clock.now();
  const call = createCall(logger, {
    requestId: requestId(head.headers["x-request-id"]),
    peer: peerOf(outlet.remoteAddress, head.headers),
    method: head.path,
    protocol: head.kind === "grpc" ? "grpc" : "connect",
    readOnly: isReadOnly(rpc.method),
  });
  const deadline = start + Math.min(head.timeoutMs, limits.maxDeadlineMs);
  new FastCall(host, { rpc, head, call, outlet, start, deadline }).begin(message);
  return true;
}

/** The message of a request; undefined if it is none, of which connect tells the caller. */
function messageIn({ input }: DescMethodUnary, { kind }: UnaryHead, { bytes }: Received): Message | undefined {
  try {
    // A copy: what a handler keeps of it must not keep all that came on the connection.
    return fromBinary(input, new Uint8Array(kind === "grpc" ? messageOf(bytes) : bytes));
  } catch {
    return;
  }
}

/**
 * A unary call on the fast path: leads a message through the interceptors to the handler, and the answer back. It does what
 * connect does, and what `guard` adds to that.
 */
class FastCall {
  readonly #host: CallHost;
  readonly #parts: CallParts;
  readonly #plainHeaders: Readonly<Record<string, string>>;
  readonly #context: FastContext;
  readonly #cancelDeadline: () => void;
  /** True once it is known how the call ends. */
  #over = false;
  #status = 200;

  constructor(host: CallHost, parts: CallParts) {
    const { clock } = host;
    const { rpc, head, call, outlet, deadline } = parts;
    const grpc = head.kind === "grpc";
    this.#host = host;
    this.#parts = parts;
    this.#plainHeaders = !grpc ? CONNECT_HEADERS : head.compressible ? GRPC_GZIP_HEADERS : GRPC_HEADERS;
    this.#context = createFastContext({
      method: rpc.method,
      protocolName: call.protocol,
      values: createContextValues().set(callKey, call),
      url: () => new URL(head.path, `${outlet.encrypted ? "https" : "http"}://${head.authority}`).toString(),
      timeoutMs: () => deadline - clock.now(),
      requestHeaders: head.headers,
      responseHeaders: this.#plainHeaders,
    });
    outlet.whenClosed((cut) => this.#closed(cut));
    this.#cancelDeadline = clock.setTimer(deadline - clock.now(), () =>
      this.#refuse(new Refusal(Reason.DEADLINE_EXCEEDED, "the deadline has passed")),
    );
  }

  /** Has the handler answer. */
  begin(message: Message): void {
    this.#run(message).then(
      (response) => this.#answer(response),
      (error: unknown) => {
        if (!this.#over) this.#refuse(refusalOfHandler(error, this.#parts.call));
      },
    );
  }

  async #run(message: Message): Promise<UnaryResponse> {
    const { method, impl, interceptors } = this.#parts.rpc;
    const context = this.#context;
    const request = requestOf(context, message);
    let made: UnaryResponse | undefined;
    const handle = async (given: UnaryRequest): Promise<UnaryResponse> => {
      const answer = await impl(given.message, given === request ? context : contextFor(context, given));
      made = responseOf(context, create(method.output, answer));
      return made;
    };
    const first = interceptors.reduceRight((next, intercept) => intercept(next), handle as Parameters<Interceptor>[0]);
    const response = (await first(request)) as UnaryResponse;
    if (response !== made) Object.assign(context.touched, { header: response.header, trailer: response.trailer });
    return response;
  }

  #answer({ message }: UnaryResponse): void {
    if (this.#over) return;
    const { rpc, call } = this.#parts;
    let frame: Uint8Array;
    try {
      frame = frameOf(toBinary(rpc.method.output, message));
    } catch (error) {
      call.log.error({ err: error, method: call.method }, "the answer could not be written");
      this.#refuse(internalRefusal(call.requestId));
      return;
    }
    this.#end(over);
    this.#send(frame);
  }

  #refuse(refusal: Refusal): void {
    const { head, call } = this.#parts;
    call.refusal = refusal;
    this.#end(refusal);
    const error = connectErrorOf(refusal);
    this.#send(head.kind === "grpc" ? undefined : frameOf(errorToJsonBytes(error, undefined)), error);
  }

  #end(reason: Error): void {
    this.#over = true;
    this.#cancelDeadline();
    this.#context.abort(reason);
  }

  #send(frame: Uint8Array | undefined, error?: ConnectError): void {
    if (frame !== undefined && this.#parts.head.compressible && isWorthCompressing(frame)) {
      compressed(frame).then(
        (smaller) => this.#write(smaller, error),
        (failure: unknown) => this.#refuse(refusalOfHandler(failure, this.#parts.call)),
      );
    } else {
      this.#write(frame, error);
    }
  }

  #write(frame: Uint8Array | undefined, error: ConnectError | undefined): void {
    const { head, call, outlet } = this.#parts;
    const { cors } = this.#host;
    const { header, trailer } = this.#context.touched;
    const headers: OutgoingHttpHeaders = {
      "x-request-id": call.requestId,
      ...(cors && corsHeaders(cors, head.headers.origin, false)),
      ...(header === undefined ? this.#plainHeaders : nodeHeaders(header)),
    };
    if (head.kind === "grpc") {
      const isPlain = error === undefined && trailer === undefined;
      const trailers = isPlain ? GRPC_OK : nodeHeaders(setTrailerStatus(new Headers(trailer), error));
      outlet.write({ status: 200, headers, body: frame, trailers });
      return;
    }
    if (trailer !== undefined) {
      for (const [name, value] of Object.entries(nodeHeaders(trailer))) headers[`trailer-${name}`] = value;
    }
    if (error !== undefined) {
      this.#status = codeToHttpStatus(error.code);
      headers["content-type"] = "application/json";
    }
    if (frame !== undefined && isCompressed(frame)) headers["content-encoding"] = "gzip";
    const body = frame && messageOf(frame);
    headers["content-length"] = body?.length;
    outlet.write({ status: this.#status, headers, body });
  }

  #closed(cut: boolean): void {
    const { call, outlet, start } = this.#parts;
    if (!this.#over) this.#end(gone);
    this.#host.accessLog(call, { http: outlet.http, status: this.#status, cut, start });
  }
}
