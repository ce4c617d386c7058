import { Code, ConnectError, type Interceptor, type StreamRequest, type StreamResponse } from "@connectrpc/connect";
import type { Refusal } from "../../core/refusal.ts";
import { orAborted } from "../call/abort.ts";
import { callOf } from "../call/context.ts";
import type { Limits } from "../call/limits.ts";
import type { OpenStreams } from "../call/open-streams.ts";
import { outcomeOfHandler, refusalOfReading } from "../call/outcome.ts";

/**
 * The interceptor around those of the services, for all calls that connect answers. It holds unary calls to their deadline
 * (connect itself merely aborts the signal and would wait for ever), bounds the number of streams, ends streams when their
 * signal aborts, and turns what handlers throw into what callers see.
 */
export function guard(streams: OpenStreams, { maxMessageBytes }: Limits): Interceptor {
  return (next) => async (request) => {
    const call = callOf(request.contextValues);
    call.entered = true;
    if (!request.stream) {
      try {
        return await orAborted(next(request), request.signal);
      } catch (error) {
        throw outcomeOfHandler(error, call, request.signal);
      }
    }
    const refusal = streams.refusal(call.peer);
    if (refusal !== undefined) throw outcomeOfHandler(refusal, call, request.signal);
    const { signal } = track(request, streams, call.peer);
    const fail = (error: unknown) => outcomeOfHandler(error, call, signal);
    const message = readable(request, (error) => refusalOfReading(error, maxMessageBytes));
    try {
      const response = (await orAborted(next({ ...request, message, signal }), signal)) as StreamResponse;
      return { ...response, message: untilAborted(response.message, signal, fail) };
    } catch (error) {
      throw fail(error);
    }
  };
}

// A stream's own signal follows the call's, which connect aborts at the end of every call, and the server's stop.
function track(request: StreamRequest, streams: OpenStreams, peer: string): AbortController {
  const stream = new AbortController();
  const end = () => {
    stream.abort(request.signal.reason);
    streams.delete(stream, peer);
  };
  streams.add(stream, peer);
  if (request.signal.aborted) end();
  else request.signal.addEventListener("abort", end, { once: true });
  return stream;
}

// Errors of the request's bytes become Refusals here, where they cannot be taken for errors of the handler.
async function* readable({ message, method }: StreamRequest, fail: (error: unknown) => Refusal) {
  let count = 0;
  try {
    for await (const item of message) {
      count++;
      if (count > 1 && method.methodKind === "server_streaming") break;
      yield item;
    }
    if (count !== 1 && method.methodKind === "server_streaming") {
      throw new ConnectError("the call takes one message", Code.Unimplemented);
    }
  } catch (error) {
    throw fail(error);
  }
}

async function* untilAborted<T>(messages: AsyncIterable<T>, signal: AbortSignal, fail: (error: unknown) => Error) {
  const iterator = messages[Symbol.asyncIterator]();
  try {
    for (;;) {
      const result = await orAborted(iterator.next(), signal);
      if (result.done === true) return;
      yield result.value;
    }
  } catch (error) {
    throw fail(error);
  } finally {
    // Not awaited: a handler that is waiting for something would hold up the end of the call.
    iterator.return?.()?.catch(() => {});
  }
}
