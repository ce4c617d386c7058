import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import { type Clock, systemClock } from "../../../src/core/clock.ts";
import { defaultLimits } from "../../../src/rpc/call/limits.ts";

export type HttpVersion = "1.1" | "2";

/** A request as it is sent. */
export type Request = {
  readonly method: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  /** Sent one after the other; where it says so, what is given as `pause` is waited for. */
  readonly body: readonly (Uint8Array | "pause")[];
};

/** An answer as it came. */
export type Answer = {
  readonly status: number | undefined;
  readonly headers: Record<string, unknown>;
  readonly trailers: Record<string, unknown>;
  readonly body: string;
};

/** No wait for a body is this long, in milliseconds; the time for a whole call is longer. */
const LONGEST_PATIENCE_MS = 100;
const LEAST_CALL_MS = 10_000;

/** The clock of a server that has no patience with bodies, and tells when it has begun to answer a call slowly. */
export class ImpatientClock implements Clock {
  #slow: PromiseWithResolvers<void> | undefined;

  /** Resolves when the server leaves a call to connect from now on, in however many parts the body comes. */
  slow(): Promise<void> {
    this.#slow = Promise.withResolvers<void>();
    return this.#slow.promise;
  }

  now(): number {
    return systemClock.now();
  }

  setTimer(milliseconds: number, callback: () => void): () => void {
    if (milliseconds > LEAST_CALL_MS && milliseconds <= defaultLimits.maxDeadlineMs) this.#slow?.resolve();
    return systemClock.setTimer(milliseconds <= LONGEST_PATIENCE_MS ? 0 : milliseconds, callback);
  }
}

async function sendBody(to: NodeJS.WritableStream, body: Request["body"], pause: Promise<void>): Promise<void> {
  for (const part of body) {
    if (part === "pause") await pause;
    else to.write(part);
  }
  to.end();
}

async function bodyOf(source: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks).toString("hex");
}

/** Sends a request over HTTP/1.1. */
export async function sendHttp1(
  port: number,
  { method, path, headers, body }: Request,
  pause: Promise<void> = Promise.resolve(),
): Promise<Answer> {
  const request = http.request({ host: "127.0.0.1", port, method, path, headers, agent: false });
  const answered = once(request, "response");
  request.flushHeaders();
  await sendBody(request, body, pause);
  const [response] = (await answered) as [http.IncomingMessage];
  const text = await bodyOf(response);
  return { status: response.statusCode, headers: response.headers, trailers: response.trailers, body: text };
}

/** Sends a request over HTTP/2 without TLS. */
export async function sendHttp2(
  port: number,
  { method, path, headers, body }: Request,
  pause: Promise<void> = Promise.resolve(),
): Promise<Answer> {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  const stream = session.request({ ":method": method, ":path": path, ...headers }, { endStream: body.length === 0 });
  let trailers = {};
  stream.on("trailers", (received) => {
    trailers = received;
  });
  const answered = once(stream, "response");
  if (body.length > 0) await sendBody(stream, body, pause);
  const [head] = (await answered) as [http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader];
  const text = await bodyOf(stream);
  session.close();
  return { status: head[":status"], headers: { ...head }, trailers: { ...trailers }, body: text };
}

/** Sends a request. */
export function send(version: HttpVersion, port: number, request: Request, pause?: Promise<void>): Promise<Answer> {
  return version === "2" ? sendHttp2(port, request, pause) : sendHttp1(port, request, pause);
}

/** What does not depend on when the call was made. Of IDs those that the caller chose: ready answers name no others. */
export function timeless({ headers, ...answer }: Answer): Answer {
  const { date, "x-request-id": id, ...rest } = headers;
  const chosen = /^[0-9a-f]{32}$/.test(`${id}`) ? undefined : id;
  return { ...answer, headers: { ...rest, date: typeof date, id: chosen } };
}
