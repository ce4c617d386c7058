import {
  type DescMethod,
  type DescMethodUnary,
  fromBinary,
  getOption,
  type Message,
  toBinary,
} from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import { rule } from "../../../gen/omi/options/v1/options_pb.ts";

/** An answer to a cacheable RPC, in the bytes that go on the wire. */
export type ReadyAnswer = {
  /** The encoded response message behind the five bytes that gRPC puts before it: see {@link frameOf}. */
  readonly frame: Uint8Array;
  /** Until when anybody may use it, and its entity tag (RFC 9110 section 8.8.3); absent if it was made for one caller. */
  readonly reuse?: {
    /** Unix seconds. */
    readonly expiresAt: number;
    readonly etag: string;
  };
};

/** What a part knows about the cacheable RPCs that it serves. */
export type ReadyAnswers = {
  /**
   * The answer to a request, if it is at hand as it is.
   *
   * @param request - as of {@link ReadyAnswers.answer}, each byte as the character of that number (Latin-1)
   */
  kept(method: DescMethodUnary, request: string): ReadyAnswer | undefined;
  /**
   * The answer to a request. It must be quick and depend on nothing but the request and the part's state, as that is when it
   * is called or later.
   *
   * @param request - the encoded request message, as the caller sent it
   * @throws whatever the RPC is refused with
   */
  answer(method: DescMethodUnary, request: Uint8Array): Promise<ReadyAnswer>;
  /** The time that expiries are compared with, in milliseconds since 1970. */
  now(): number;
};

/** The length of what gRPC puts before a message: a flag for compression, and the message's length. */
export const FRAME_PREFIX_BYTES = 5;

/** Puts an encoded message into an uncompressed gRPC frame, in memory of its own. */
export function frameOf(message: Uint8Array): Uint8Array {
  const frame = new Uint8Array(FRAME_PREFIX_BYTES + message.length);
  new DataView(frame.buffer).setUint32(1, message.length);
  frame.set(message, FRAME_PREFIX_BYTES);
  return frame;
}

/** True if the contract marks the RPC as one whose answers anybody may keep. */
export function isCacheable(method: DescMethod): method is DescMethodUnary {
  if (method.methodKind !== "unary" || method.idempotency !== Idempotency.NO_SIDE_EFFECTS) return false;
  return getOption(method, rule).cacheable;
}

/**
 * Registers cacheable RPCs, so that connect answers them from the same source as the fast path.
 *
 * @throws TypeError if an RPC is not cacheable
 */
export function serveReadyAnswers(
  router: ConnectRouter,
  methods: readonly DescMethod[],
  answers: ReadyAnswers,
  options?: Parameters<ConnectRouter["rpc"]>[2],
): void {
  for (const method of methods) {
    if (!isCacheable(method)) throw new TypeError(`${method} is not cacheable`);
    router.rpc(
      method,
      async (request: Message, context: HandlerContext) => {
        const ready = await answers.answer(method, toBinary(method.input, request));
        if (context.requestMethod === "GET") {
          for (const [name, value] of Object.entries(cachingHeaders(ready, answers.now()))) {
            context.responseHeader.set(name, value);
          }
        }
        return fromBinary(method.output, ready.frame.subarray(FRAME_PREFIX_BYTES));
      },
      options,
    );
  }
}

/**
 * What the answer to a GET tells caches: to keep it for whole seconds up to its expiry, or not at all.
 *
 * @param now - milliseconds since 1970
 */
export function cachingHeaders({ reuse }: ReadyAnswer, now: number): Record<string, string> {
  if (reuse === undefined) return { "cache-control": NO_STORE };
  const seconds = Math.max(0, Math.floor(reuse.expiresAt - now / 1000));
  return { "cache-control": `public, max-age=${seconds}`, etag: reuse.etag };
}

/** The `cache-control` of what no cache may keep. */
export const NO_STORE = "no-store";

/** True if `If-None-Match` names the answer's tag, by the weak comparison of RFC 9110 section 13.1.2. */
export function isKnown(etag: string | null | undefined, ifNoneMatch: string | null | undefined): boolean {
  if (!etag || !ifNoneMatch) return false;
  return ifNoneMatch.split(",").some((candidate) => {
    const tag = candidate.trim();
    return tag === "*" || tag.replace(/^W\//, "") === etag;
  });
}
