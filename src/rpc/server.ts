import { once } from "node:events";
import type { AddressInfo } from "node:net";
import type { ConnectRouter } from "@connectrpc/connect";
import type { Logger } from "pino";
import { type Clock, systemClock } from "../core/clock.ts";
import { ConfigError } from "../core/config.ts";
import { type Random, systemRandom } from "../core/random.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { defaultLimits, type Limits } from "./call/limits.ts";
import { OpenStreams } from "./call/open-streams.ts";
import { createHandlers } from "./handlers/handlers.ts";
import { healthRoute } from "./handlers/health.ts";
import { Readiness } from "./handlers/readiness.ts";
import type { CorsOptions } from "./http/cors.ts";
import type { HttpRoute } from "./http/http-routes.ts";
import { createPeerFinder } from "./http/trusted-proxies.ts";
import type { ReadyAnswers } from "./ready/ready-answers.ts";
import type { ReadyStreams } from "./ready/ready-streams.ts";
import { createDispatch } from "./server/dispatch.ts";
import { createFront } from "./server/front.ts";
import { keepCertificate, readCertificate, type TlsFiles } from "./server/tls-files.ts";

/** What a server listens on, and what it serves. */
export type ServerOptions = {
  /** The address to listen on, e.g. `127.0.0.1` or `::`. */
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  /**
   * Shares the port with other processes that say the same; the system spreads connections over them. On Linux alone
   * (`SO_REUSEPORT`).
   */
  readonly reusePort?: boolean | undefined;
  /** Required unless `development`. Read again when they change, see {@link keepCertificate}. */
  readonly tls?: TlsFiles | undefined;
  /** Allows to serve without TLS. */
  readonly development?: boolean | undefined;
  /** Proxies that are believed where requests come from, see {@link createPeerFinder}; none if absent. */
  readonly trustedProxies?: readonly string[] | undefined;
  /** Without it, no web page may call. */
  readonly cors?: CorsOptions | undefined;
  /** Limits that differ from {@link defaultLimits}. */
  readonly limits?: Partial<Limits> | undefined;
  /** Registers the RPCs, each service with interceptors of its own if it needs some. Health and reflection are added. */
  readonly routes: (router: ConnectRouter) => void;
  /** Documents beside the RPCs. */
  readonly httpRoutes?: readonly HttpRoute[] | undefined;
  /** Lets cacheable RPCs be answered without connect. The same answers must stand behind those of `routes`. */
  readonly answers?: ReadyAnswers | undefined;
  /** The same for streams. */
  readonly readyStreams?: ReadyStreams | undefined;
  readonly logger: Logger;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  /** What health tells; the server sets it to not ready when it stops. */
  readonly readiness?: Readiness | undefined;
};

/** One port for Connect, gRPC and gRPC-Web over HTTP/1.1 and HTTP/2. */
export type Server = {
  /** Starts to accept connections. Rejects with Node's error if the address cannot be had. */
  listen(): Promise<void>;
  /** Where the server listens, once it does. */
  readonly address: { readonly host: string; readonly port: number; readonly url: string };
  /**
   * Reads the TLS files now, and not only within a minute after they have changed. New connections see the new certificate,
   * those that there are go on. Files that can't be used are logged, and change nothing.
   */
  reloadTls(): Promise<void>;
  /**
   * Stops: health says NOT_SERVING, nothing new is accepted, streams end with SHUTTING_DOWN, idle connections are closed.
   * Calls under way may finish within `graceMs` milliseconds; then their connections are destroyed. Resolves when all
   * connections are closed. Calling it again returns the same promise.
   */
  close(graceMs: number): Promise<void>;
};

/**
 * Creates a server that does not listen yet.
 *
 * @throws ConfigError without `tls` outside of development, if the TLS files cannot be used, or for a proxy that is no address
 */
export function createServer(options: ServerOptions): Server {
  const { tls, development = false, logger, clock = systemClock, readiness = new Readiness() } = options;
  if (tls === undefined && !development) {
    throw new ConfigError([{ path: "tls", expected: "certFile and keyFile, unless development is true" }]);
  }
  const limits = { ...defaultLimits, ...options.limits };
  const streams = new OpenStreams(limits);
  let closed: Promise<void> | undefined;

  const dispatch = createDispatch({
    handlers: createHandlers({ routes: options.routes, limits, readiness, streams }),
    httpRoutes: [healthRoute(readiness), ...(options.httpRoutes ?? [])],
    cors: options.cors,
    answers: options.answers,
    readyStreams: options.readyStreams,
    streams,
    limits,
    logger,
    clock,
    random: options.random ?? systemRandom,
    peerOf: createPeerFinder(options.trustedProxies ?? []),
    stopping: () => closed !== undefined,
  });
  const certificate = tls && readCertificate(tls);
  const front = createFront(dispatch, certificate, limits, clock);
  const { listener } = front;
  const keeper =
    tls &&
    certificate &&
    keepCertificate(tls, { current: certificate, apply: (renewed) => front.useCertificate(renewed), clock, logger });

  async function stop(graceMs: number): Promise<void> {
    const allClosed = new Promise<void>((resolve) => listener.close(() => resolve()));
    readiness.set(false);
    keeper?.stop();
    // Lets the watchers of health hear it before their streams end.
    await new Promise(setImmediate);
    streams.abort(new Refusal(Reason.SHUTTING_DOWN, "the server is stopping"));
    front.drain();
    const cancel = clock.setTimer(graceMs, () => front.destroy());
    await allClosed;
    cancel();
  }

  return {
    async listen() {
      const { host, port, reusePort = false } = options;
      listener.listen({ host, port, reusePort });
      await once(listener, "listening");
    },
    get address() {
      const { address, family, port } = listener.address() as AddressInfo;
      const host = family === "IPv6" ? `[${address}]` : address;
      return { host: address, port, url: `${tls === undefined ? "http" : "https"}://${host}:${port}` };
    },
    reloadTls: () => keeper?.reload() ?? Promise.resolve(),
    close(graceMs) {
      closed ??= stop(graceMs);
      return closed;
    },
  };
}
