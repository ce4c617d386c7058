import { orAborted } from "./abort.ts";
import type { NodeServerRequest } from "./node-http.ts";

/**
 * The bytes of a request's body, until `signal` aborts. Leaving early leaves the request as it is (Node's own iterator
 * would destroy it, and with it the HTTP/1.1 connection that the answer needs).
 *
 * @throws the signal's reason, or the socket's error if the body was cut
 */
export async function* readBody(request: NodeServerRequest, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const chunks = request.iterator({ destroyOnReturn: false });
  for (;;) {
    const chunk: IteratorResult<Uint8Array> = await orAborted(chunks.next(), signal);
    if (chunk.done === true) return;
    yield chunk.value;
  }
}

/**
 * Makes the rest of the body, which nobody reads any more, not stand in the way: in HTTP/2 the peer is told to stop
 * (RFC 9113 section 8.1), in HTTP/1.1 the bytes before the next request are skipped, for as long as the request may take.
 */
export function discardBody(request: NodeServerRequest): void {
  if (!("stream" in request)) {
    request.resume();
  } else if (!request.stream.readableEnded && !request.stream.closed) {
    request.stream.close();
  }
}
