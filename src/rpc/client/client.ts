import type { Interceptor, Transport } from "@connectrpc/connect";
import { compressionGzip, createConnectTransport } from "@connectrpc/connect-node";
import type { Reason } from "../../core/refusal.ts";
import type { Dialer } from "./dial.ts";
import { Http2Sessions } from "./http2-sessions.ts";
import { refusalFrom } from "./refusal-from.ts";

/** How to call a party. */
export type TransportOptions = {
  /** The party's URL, e.g. `https://omiappreg.org`. */
  readonly baseUrl: string;
  readonly dialer: Dialer;
  /** The Reason when the party can't be reached or does not answer in time, e.g. PROVIDER_UNAVAILABLE. */
  readonly unavailable: Reason;
  /** `2` if absent. */
  readonly httpVersion?: "1.1" | "2" | undefined;
  /** False for JSON; true if absent. */
  readonly useBinaryFormat?: boolean | undefined;
  /** True to call RPCs without side effects with GET, which caches understand. */
  readonly useHttpGet?: boolean | undefined;
  /** Deadline of a unary call that names none, in milliseconds; 10,000 if absent. Streams have none by themselves. */
  readonly timeoutMs?: number | undefined;
  /** Greatest size of an answer's message, in bytes; 1 MiB if absent. */
  readonly readMaxBytes?: number | undefined;
  readonly interceptors?: Interceptor[] | undefined;
};

/** A transport whose calls fail with a Refusal. */
export type ClosableTransport = Transport & {
  /** Ends its calls and closes its HTTP/2 connection. Connections of HTTP/1.1 belong to the dialler. */
  close(): void;
};

/** Creates a transport that speaks Connect through a dialler, bounded in time and size. */
export function createTransport(options: TransportOptions): ClosableTransport {
  const { baseUrl, dialer, unavailable, httpVersion = "2", timeoutMs = 10_000 } = options;
  const common = {
    baseUrl,
    defaultTimeoutMs: timeoutMs,
    readMaxBytes: options.readMaxBytes ?? 1024 * 1024,
    useBinaryFormat: options.useBinaryFormat ?? true,
    useHttpGet: options.useHttpGet ?? false,
    acceptCompression: [compressionGzip],
    interceptors: options.interceptors ?? [],
  };
  const host = new URL(baseUrl).hostname;
  if (httpVersion === "1.1") {
    const agent = baseUrl.startsWith("https:") ? dialer.https : dialer.http;
    const transport = createConnectTransport({ ...common, httpVersion, nodeOptions: { agent } });
    return { ...refusals(transport, unavailable, host), close() {} };
  }
  // The pings find out that the other end of a silent stream is gone.
  const pings = { pingIntervalMs: 30_000, pingTimeoutMs: 15_000, idleConnectionTimeoutMs: 60_000 };
  const sessionManager = new Http2Sessions(baseUrl, pings, {
    createConnection: (url) => dialer.connectHttp2(url),
    settings: { enablePush: false },
  });
  const transport = createConnectTransport({ ...common, httpVersion, sessionManager });
  return { ...refusals(transport, unavailable, host), close: () => sessionManager.abort() };
}

/**
 * Makes the calls of a transport fail with a Refusal ({@link refusalFrom}), except where the caller itself aborted them.
 * A stream is only left by aborting its signal: connect's clients do not tell when a loop over it is. (This is not an
 * interceptor, because connect wraps what those throw into a ConnectError.)
 *
 * @param unavailable - the Reason for a peer that cannot be reached
 * @param host - the peer's host, for the text and metadata of that refusal
 */
export function refusals(transport: Transport, unavailable: Reason, host?: string): Transport {
  const translate = (error: unknown, signal: AbortSignal | undefined) =>
    signal?.aborted === true ? error : refusalFrom(error, unavailable, host);
  return {
    async unary(method, signal, ...rest) {
      try {
        return await transport.unary(method, signal, ...rest);
      } catch (error) {
        throw translate(error, signal);
      }
    },
    async stream(method, signal, timeoutMs, ...rest) {
      try {
        // 0 means no deadline; without it, the unary calls' default would apply.
        const response = await transport.stream(method, signal, timeoutMs ?? 0, ...rest);
        return { ...response, message: translated(response.message) };
      } catch (error) {
        throw translate(error, signal);
      }
      async function* translated<T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
        try {
          yield* messages;
        } catch (error) {
          throw translate(error, signal);
        }
      }
    },
  };
}
