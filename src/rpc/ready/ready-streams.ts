import {
  type DescMessage,
  type DescMethodServerStreaming,
  fromBinary,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import { takeTurn } from "../../core/turns.ts";
import { messageOf } from "./frame.ts";

/**
 * The messages of one stream, in the bytes that go on the wire. It is asked for one message after the other, as fast as the
 * caller takes them, so that nothing has to be kept for a slow caller. It may hand out the same bytes to many streams.
 */
export type MessageSource = {
  /**
   * The next message behind the five bytes that gRPC puts before it (see `frameOf`); "later" if there is none yet: then `wake`
   * is called when there may be one; "end" if there will be none.
   *
   * @throws whatever the stream is to end with
   */
  next(): Uint8Array | "later" | "end";
  /** The stream is over, for whatever reason. Called once, and nothing after it. */
  close(): void;
};

/**
 * Opens a stream.
 *
 * @param request - the encoded request message, as the caller sent it
 * @param wake - to be called when there may be a next message; more often does no harm
 * @param headers - the caller's
 * @throws whatever the RPC is refused with
 */
export type OpenStream = (request: Uint8Array, wake: () => void, headers: Pick<Headers, "get">) => MessageSource;

/** The server-streaming RPCs that a part has ready messages for. */
export type ReadyStreams = ReadonlyMap<DescMethodServerStreaming, OpenStream>;

/** The implementation of such an RPC for connect, which answers from the same source as the fast path. */
export function serveReadyStream<I extends DescMessage, O extends DescMessage>(
  method: DescMethodServerStreaming<I, O>,
  open: OpenStream,
): (
  request: MessageShape<I>,
  context: Pick<HandlerContext, "signal" | "requestHeader">,
) => AsyncGenerator<MessageShape<O>> {
  return async function* (request, { signal, requestHeader }) {
    let wake = () => {};
    const source = open(toBinary(method.input, request), () => wake(), requestHeader);
    let hasWaited = true;
    const woken = () => wake();
    signal.addEventListener("abort", woken, { once: true });
    try {
      while (!signal.aborted) {
        const next = source.next();
        if (next === "end") return;
        if (next === "later") {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          hasWaited = true;
        } else {
          // Who is behind sends one message after the other, and so may many others.
          if (!hasWaited) await new Promise<void>((turn) => takeTurn({ turn }));
          hasWaited = false;
          yield fromBinary(method.output, messageOf(next));
        }
      }
    } finally {
      signal.removeEventListener("abort", woken);
      source.close();
    }
  };
}
