import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { pipeline } from "node:stream";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import pino from "pino";
import { expect, onTestFinished, test } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../gen/health/v1/health_pb.ts";
import { createServer } from "../../src/rpc/server.ts";
import { startNginx } from "./support/nginx.ts";
import { proxyTls } from "./support/proxy-conf.ts";

// Another address of this machine than the one that nginx calls from.
const caller = { localAddress: "127.0.0.2", ca: readFileSync(proxyTls.certFile) };

/** A part behind nginx, and whom it saw calling, one for each call. Between the two, connections are counted. */
async function started() {
  const callers: string[] = [];
  const destination = {
    write(line: string) {
      const { msg, peer } = JSON.parse(line);
      if (msg === "call") callers.push(peer);
    },
  };
  const start = async (port: number) => {
    const server = createServer({
      host: "127.0.0.1",
      port,
      tls: proxyTls,
      trustedProxies: ["127.0.0.1"],
      logger: pino({ level: "debug" }, destination),
      routes: () => {},
    });
    await server.listen();
    onTestFinished(() => server.close(0));
    return server;
  };
  let server = await start(0);
  const { port } = server.address;
  let connections = 0;
  const counter = net.createServer((socket) => {
    connections++;
    const part = net.connect(port, "127.0.0.1");
    pipeline(socket, part, socket, () => {});
  });
  counter.listen(0, "127.0.0.1");
  await once(counter, "listening");
  onTestFinished(() => void counter.close());
  const origin = `https://127.0.0.1:${(counter.address() as net.AddressInfo).port}`;
  return {
    url: `https://localhost:${await startNginx(origin, "ssl http2")}`,
    callers,
    connections: () => connections,
    async restart() {
      await server.close(0);
      server = await start(port);
    },
  };
}

const nodeOptions = caller;
const transports: readonly (readonly [string, (baseUrl: string) => Transport])[] = [
  ["gRPC", (baseUrl) => createGrpcTransport({ baseUrl, nodeOptions })],
  ["gRPC-Web over HTTP/2", (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "2", nodeOptions })],
  ["gRPC-Web over HTTP/1.1", (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1", nodeOptions })],
  ["Connect over HTTP/2", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2", nodeOptions })],
  ["Connect over HTTP/1.1", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1", nodeOptions })],
];

test.each(transports)("%s comes through, and the part knows who called", async (_, transport) => {
  const { url, callers } = await started();
  const health = createClient(Health, transport(url));
  const headers = { "x-forwarded-for": "203.0.113.9", forwarded: "for=203.0.113.9" };
  expect((await health.check({}, { headers })).status).toBe(Status.SERVING);
  // A stream's messages arrive while it goes on.
  const left = new AbortController();
  for await (const { status } of health.watch({}, { headers, signal: left.signal })) {
    expect(status).toBe(Status.SERVING);
    break;
  }
  left.abort();
  await expect.poll(() => callers).toEqual(["127.0.0.2", "127.0.0.2"]);
});

test.each(transports)("nginx keeps its connection to the part for %s, until the part stops", async (_, transport) => {
  const { url, connections, restart } = await started();
  const health = createClient(Health, transport(url));
  for (let calls = 0; calls < 5; calls++) await health.check({});
  expect(connections()).toBe(1);
  await restart();
  for (let calls = 0; calls < 5; calls++) await health.check({});
  expect(connections()).toBe(2);
});

// By default nginx has a client leave its connection after 1000 calls, and drops what it sends until it has heard of that.
test.each(transports.filter(([name]) => !name.endsWith("HTTP/1.1")))(
  "none of many calls at once over %s fails",
  async (_, transport) => {
    const { url } = await started();
    const health = createClient(Health, transport(url));
    const failures: unknown[] = [];
    const caller = async () => {
      for (let calls = 0; calls < 40; calls++) await health.check({}).catch((error) => failures.push(error));
    };
    await Promise.all(Array.from({ length: 32 }, caller));
    expect(failures).toEqual([]);
  },
);
