import { readFileSync } from "node:fs";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import pino from "pino";
import { expect, onTestFinished, test } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../gen/health/v1/health_pb.ts";
import { createServer } from "../../src/rpc/server.ts";
import { runNginx } from "./support/nginx.ts";

// The configuration of the documentation, as it is but for addresses and paths.
const documented = new URL("../../docs/operations/proxy.conf", import.meta.url);
const tls = {
  certFile: new URL("../support/tls/cert.pem", import.meta.url).pathname,
  keyFile: new URL("../support/tls/key.pem", import.meta.url).pathname,
};
// Another address of this machine than the one that nginx calls from.
const caller = { localAddress: "127.0.0.2", ca: readFileSync(tls.certFile) };

/** A part behind nginx, and whom it saw calling, one for each call. */
async function started() {
  const callers: string[] = [];
  const destination = {
    write(line: string) {
      const { msg, peer } = JSON.parse(line);
      if (msg === "call") callers.push(peer);
    },
  };
  const server = createServer({
    host: "127.0.0.1",
    port: 0,
    tls,
    trustedProxies: ["127.0.0.1"],
    logger: pino({ level: "debug" }, destination),
    routes: () => {},
  });
  await server.listen();
  onTestFinished(() => server.close(0));
  const text = readFileSync(documented, "utf8");
  const port = await runNginx((_, port) =>
    text
      .replace("listen 443", `listen 127.0.0.1:${port}`)
      .replaceAll("127.0.0.1:7100", `127.0.0.1:${server.address.port}`)
      .replace("/etc/omi/tls/cert.pem", tls.certFile)
      .replace("/etc/omi/tls/key.pem", tls.keyFile),
  );
  return { url: `https://localhost:${port}`, callers };
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
