import { expect, test } from "vitest";
import { start } from "../support/start.ts";

const ECHO = "/test.v1.EchoService/Echo";
const cors = { allowedOrigins: ["https://shop.example"] };

function preflight(url: string, origin: string): Promise<Response> {
  const headers = { origin, "access-control-request-method": "POST" };
  return fetch(url + ECHO, { method: "OPTIONS", headers });
}

test("an allowed page may call, and read what it needs of the answer", async () => {
  const { url } = await start({}, { cors });
  const asked = await preflight(url, "https://shop.example");
  expect(asked.status).toBe(204);
  expect(asked.headers.get("access-control-allow-origin")).toBe("https://shop.example");
  expect(asked.headers.get("access-control-allow-methods")).toContain("POST");
  const allowed = asked.headers.get("access-control-allow-headers")?.toLowerCase();
  for (const name of ["content-type", "connect-protocol-version", "x-grpc-web", "authorization", "x-request-id"]) {
    expect(allowed).toContain(name);
  }

  const headers = { origin: "https://shop.example", "content-type": "application/json" };
  const answer = await fetch(url + ECHO, { method: "POST", headers, body: '"a"' });
  expect(await answer.json()).toBe("a");
  expect(answer.headers.get("access-control-allow-origin")).toBe("https://shop.example");
  const exposed = answer.headers.get("access-control-expose-headers")?.toLowerCase();
  for (const name of ["grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id"]) {
    expect(exposed).toContain(name);
  }
});

test("another page gets no permission", async () => {
  const { url } = await start({}, { cors });
  const asked = await preflight(url, "https://evil.example");
  expect(asked.headers.get("access-control-allow-origin")).toBeNull();
  expect(asked.headers.get("vary")).toBe("Origin");
});

test("without the option nobody gets one, and with a star everybody", async () => {
  const without = await start();
  expect((await preflight(without.url, "https://shop.example")).headers.get("access-control-allow-origin")).toBeNull();
  const star = await start({}, { cors: { allowedOrigins: ["*"] } });
  expect((await preflight(star.url, "https://a.example")).headers.get("access-control-allow-origin")).toBe("*");
});
