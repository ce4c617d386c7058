import { readFileSync } from "node:fs";
import type { Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { Http2Sessions } from "../../../src/rpc/client/http2-sessions.ts";
import { cleanUp, tls } from "./start.ts";

type HttpVersion = "1.1" | "2";

const FACTORIES = {
  "Connect binary": createConnectTransport,
  "Connect JSON": (options: Parameters<typeof createConnectTransport>[0]) =>
    createConnectTransport({ ...options, useBinaryFormat: false }),
  "Connect GET": (options: Parameters<typeof createConnectTransport>[0]) =>
    createConnectTransport({ ...options, useHttpGet: true }),
  gRPC: createGrpcTransport,
  "gRPC-Web": createGrpcWebTransport,
};

type Protocol = keyof typeof FACTORIES;

/** Every way to call a unary RPC. gRPC needs HTTP/2. */
export const PROTOCOLS = (Object.keys(FACTORIES) as Protocol[])
  .flatMap((protocol) => [
    { protocol, httpVersion: "1.1" as const },
    { protocol, httpVersion: "2" as const },
  ])
  .filter(({ protocol, httpVersion }) => protocol !== "gRPC" || httpVersion === "2");

/**
 * Connect's own transport, so that a test sees the error that was on the wire; with our keeper of connections, as connect's
 * waits for ever for a server whose connection is reset when it has taken leave.
 */
export function transportOf(
  { protocol, httpVersion }: { protocol: Protocol; httpVersion: HttpVersion },
  baseUrl: string,
  options: { defaultTimeoutMs?: number } = {},
): Transport {
  const ca = readFileSync(tls.certFile);
  if (httpVersion === "1.1") {
    return FACTORIES[protocol]({ baseUrl, httpVersion, nodeOptions: { ca, agent: false }, ...options });
  }
  const sessionManager = new Http2Sessions(baseUrl, {}, { ca });
  cleanUp(() => sessionManager.abort());
  return FACTORIES[protocol]({ baseUrl, httpVersion, sessionManager, ...options });
}
