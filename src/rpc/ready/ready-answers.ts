import { type DescMethod, type DescMethodUnary, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import { isCacheable } from "../call/contract.ts";
import { cachingHeaders } from "./caching.ts";
import { messageOf } from "./frame.ts";

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
        return fromBinary(method.output, messageOf(ready.frame));
      },
      options,
    );
  }
}
