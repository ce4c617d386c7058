import { orAborted } from "../call/abort.ts";
import type { NodeServerRequest, NodeServerResponse } from "./node-http.ts";
import type { Received } from "./small-body.ts";

/**
 * The bytes of a request's body, until `signal` aborts. Leaving early leaves the request as it is (Node's own iterator
 * would destroy it, and with it the HTTP/1.1 connection that the answer needs).
 *
 * @param received - what was read of it before
 * @throws the signal's reason, or the socket's error if the body was cut
 */
export async function* readBody(
  request: NodeServerRequest,
  signal: AbortSignal,
  received?: Received,
): AsyncGenerator<Uint8Array> {
  if (received !== undefined) yield received.bytes;
  const source = received === undefined ? request : received.rest;
  if (source === undefined) return;
  const chunks = source.iterator({ destroyOnReturn: false });
  for (;;) {
    const chunk: IteratorResult<Uint8Array> = await orAborted(chunks.next(), signal);
    if (chunk.done === true) return;
    yield chunk.value;
  }
}

/**
 * Makes the rest of the body, which nobody reads any more once the answer is written, not stand in the way: in HTTP/2 the
 * peer is told to stop (RFC 9113 section 8.1), in HTTP/1.1 the bytes before the next request are skipped, for as long as
 * a request may take.
 */
export function discardBodyAfter(response: NodeServerResponse, request: NodeServerRequest): void {
  if (!("stream" in request)) {
    response.once("finish", () => request.resume());
    return;
  }
  const { stream } = request;
  const stop = () => {
    if (!stream.readableEnded && !stream.closed) stream.close();
  };
  // Node asks for the trailers when the answer's last byte is out. Closing before they are would lose them.
  stream.once("wantTrailers", () => setImmediate(stop));
}
