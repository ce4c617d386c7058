import type { ServiceImpl } from "@connectrpc/connect";
import { afterEach } from "vitest";
import { createLogger } from "../../../src/core/log.ts";
import { createDialer, type Dialer } from "../../../src/rpc/client/dial.ts";
import { createServer, type Server, type ServerOptions } from "../../../src/rpc/server.ts";
import { EchoService } from "./echo.ts";

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Runs when the test is over, the last one first. */
export function cleanUp(cleanup: () => unknown): void {
  cleanups.push(cleanup);
}

/** A running echo service. */
export type Started = {
  readonly server: Server;
  readonly url: string;
  readonly port: number;
  /** What was logged so far. */
  readonly log: Record<string, unknown>[];
};

/** The files of the certificate that tests use. */
export const tls = {
  certFile: new URL("../../support/tls/cert.pem", import.meta.url).pathname,
  keyFile: new URL("../../support/tls/key.pem", import.meta.url).pathname,
};

/** Starts a development server on a free port, with the given methods of the echo service. */
export async function start(
  methods: Partial<ServiceImpl<typeof EchoService>> = {},
  options: Partial<ServerOptions> = {},
): Promise<Started> {
  const log: Record<string, unknown>[] = [];
  const destination = { write: (line: string) => void log.push(JSON.parse(line)) };
  const server = createServer({
    host: "127.0.0.1",
    port: 0,
    development: true,
    routes: (router) => router.service(EchoService, { echo: ({ value }) => ({ value }), ...methods }),
    logger: createLogger({ level: "debug", component: "test", destination }),
    ...options,
  });
  await server.listen();
  cleanUp(() => server.close(0));
  return { server, url: server.address.url, port: server.address.port, log };
}

/** A dialler that may call this machine. */
export function localDialer(): Dialer {
  const dialer = createDialer({ allowPrivate: () => true, allowPlain: () => true });
  cleanUp(() => dialer.close());
  return dialer;
}
