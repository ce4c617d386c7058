import { expect, test } from "vitest";
import { Reason, Refusal } from "../../../src/core/refusal.ts";
import type { HttpRoute } from "../../../src/rpc/http/http-routes.ts";
import { never } from "../support/outcomes.ts";
import { reasonIn } from "../support/raw.ts";
import { start } from "../support/start.ts";

const headers = { "content-type": "application/json", "cache-control": "max-age=60" };

const httpRoutes: HttpRoute[] = [
  { method: "GET", path: "/.well-known/omi", handler: ({ context }) => ({ headers, body: `"${context.peer}"` }) },
  { method: "GET", path: "/apps/*", handler: ({ path, query }) => ({ headers, body: path + query.get("page") }) },
  {
    method: "POST",
    path: "/echo",
    handler: async ({ body, header }) => ({ status: 201, headers, body: `${header.get("x-a")}${Buffer.from(body)}` }),
  },
  {
    method: "GET",
    path: "/refused",
    handler() {
      throw new Refusal(Reason.APP_UNKNOWN, "no such app");
    },
  },
  {
    method: "GET",
    path: "/broken",
    handler() {
      throw new Error("top secret");
    },
  },
  { method: "GET", path: "/slow", handler: () => new Promise(never) },
  { method: "POST", path: "/test.v1.EchoService/*", handler: ({ path }) => ({ headers, body: path }) },
];

test("documents are served by exact path and by prefix, to GET and HEAD", async () => {
  const { url } = await start({}, { httpRoutes });
  const response = await fetch(`${url}/.well-known/omi`);
  expect(response.headers.get("cache-control")).toBe("max-age=60");
  expect(response.headers.get("x-request-id")).not.toBeNull();
  expect(await response.json()).toBe("127.0.0.1");
  expect(await (await fetch(`${url}/apps/a/jwks?page=2`)).text()).toBe("/apps/a/jwks2");
  const head = await fetch(`${url}/.well-known/omi`, { method: "HEAD" });
  expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([200, "11", ""]);
  expect((await fetch(`${url}/.well-known/omi/x`)).status).toBe(404);
});

test("a body is read within the limit", async () => {
  const { url } = await start({}, { httpRoutes, limits: { maxMessageBytes: 10 } });
  const response = await fetch(`${url}/echo`, { method: "POST", body: "hello", headers: { "x-a": "1" } });
  expect([response.status, await response.text()]).toEqual([201, "1hello"]);
  const refused = await fetch(`${url}/echo`, { method: "POST", body: "x".repeat(11) });
  expect(reasonIn(await refused.text())).toBe("REASON_TOO_LARGE");
});

test("a path that is an RPC's stays the RPC's, whichever route starts like it", async () => {
  const { url } = await start({}, { httpRoutes });
  const post = async (method: string, type: string, body: string) => {
    const path = `/test.v1.EchoService/${method}`;
    return (await fetch(url + path, { method: "POST", body, headers: { "content-type": type } })).text();
  };
  expect(await post("Echo", "application/json", '"hello"')).toBe('"hello"');
  expect(await post("Echo", "application/proto", "\n\x05hello")).toBe("\n\x05hello");
  expect(reasonIn(await post("Echo", "application/proto", "no message"))).toBe("REASON_MALFORMED");
  expect(await post("Other", "application/proto", "hello")).toBe("/test.v1.EchoService/Other");
});

test.each([
  ["/refused", 404, "REASON_APP_UNKNOWN"],
  ["/broken", 500, "REASON_INTERNAL"],
  ["/slow", 504, "REASON_DEADLINE_EXCEEDED"],
])("%s fails as an RPC would", async (path, status, reason) => {
  const { url, log } = await start({}, { httpRoutes, limits: { maxDeadlineMs: 20 } });
  const response = await fetch(url + path);
  const body = await response.text();
  expect([response.status, reasonIn(body)]).toEqual([status, reason]);
  expect(body).not.toContain("secret");
  expect(log.some(({ level }) => level === "error")).toBe(path === "/broken");
});
