import http from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { Reason } from "../../../src/core/refusal.ts";
import { createDialer } from "../../../src/rpc/client/dial.ts";
import { type FetchOptions, fetchDocument } from "../../../src/rpc/client/fetch-document.ts";
import { refusalOf } from "../support/outcomes.ts";
import { cleanUp } from "../support/start.ts";

const unavailable = Reason.PROVIDER_UNKNOWN;

/** Serves one answer at `http://provider.test/.well-known/omi`. */
async function serve(answer: http.RequestListener): Promise<(options?: Partial<FetchOptions>) => Promise<Uint8Array>> {
  const server = http.createServer(answer).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  const dialer = createDialer({
    hosts: { "*.test": `127.0.0.1:${port}` },
    allowPlain: (host) => host.endsWith(".test"),
  });
  cleanUp(() => {
    dialer.close();
    server.close();
    server.closeAllConnections();
  });
  return (options) => fetchDocument("http://provider.test/.well-known/omi", { dialer, unavailable, ...options });
}

const json = { "content-type": "application/json; charset=utf-8" };

test("returns the bytes", async () => {
  let asked: http.IncomingMessage | undefined;
  const fetch = await serve((request, response) => {
    asked = request;
    response.writeHead(200, json).end('{"a": 1}');
  });
  expect(Buffer.from(await fetch()).toString()).toBe('{"a": 1}');
  expect([asked?.headers.host, asked?.url]).toEqual(["provider.test", "/.well-known/omi"]);
});

test.each([
  ["a redirect", 302, { location: "/other" }, "", Reason.ADDRESS_NOT_ALLOWED],
  ["not found", 404, json, "{}", unavailable],
  ["HTML", 200, { "content-type": "text/html" }, "{}", Reason.ANSWER_INVALID],
  ["a type that begins alike", 200, { "content-type": "application/jsonp" }, "{}", Reason.ANSWER_INVALID],
  ["no type", 200, {}, "{}", Reason.ANSWER_INVALID],
  ["too many bytes", 200, json, "x".repeat(101), Reason.ANSWER_INVALID],
])("refuses %s", async (_, status, headers, body, reason) => {
  const fetch = await serve(
    (_request, response) => void response.writeHead(status, headers as http.OutgoingHttpHeaders).end(body),
  );
  expect((await refusalOf(fetch({ maxBytes: 100 }))).reason).toBe(reason);
});

test.each([
  ["no answer", () => {}],
  [
    "an answer that never ends",
    (_request: http.IncomingMessage, response: http.ServerResponse) => {
      response.writeHead(200, json).write("{");
    },
  ],
  [
    "an answer that is cut",
    (_request: http.IncomingMessage, response: http.ServerResponse) => {
      response.writeHead(200, { ...json, "content-length": 10 });
      response.write("{", () => response.destroy());
    },
  ],
])("does not wait for ever: %s", async (_, answer) => {
  const fetch = await serve(answer);
  expect((await refusalOf(fetch({ timeoutMs: 50 }))).reason).toBe(unavailable);
});

test.each([
  ["https://127.0.0.1/x"],
  ["https://user@provider.test/x"],
  ["https://provider.test/x?y"],
  ["https://provider.test:8443/x"],
  ["http://provider.example/x"],
  ["ftp://provider.test/x"],
  ["provider.test"],
])("refuses to call %s", async (url) => {
  const dialer = createDialer({ allowPlain: (host) => host === "other.test" });
  cleanUp(() => dialer.close());
  expect((await refusalOf(fetchDocument(url, { dialer, unavailable }))).reason).toBe(Reason.ADDRESS_NOT_ALLOWED);
});
