import { createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../../gen/health/v1/health_pb.ts";
import { Reason } from "../../../src/core/refusal.ts";
import { detailOf } from "../../../src/rpc/client/refusal-from.ts";
import { Readiness } from "../../../src/rpc/handlers/readiness.ts";
import { errorOf } from "../support/outcomes.ts";
import { cleanUp, start } from "../support/start.ts";

function healthOf(url: string) {
  const sessionManager = new Http2SessionManager(url);
  cleanUp(() => sessionManager.abort());
  return createClient(Health, createGrpcTransport({ baseUrl: url, sessionManager }));
}

test("check and list follow readiness, for the server and each service", async () => {
  const readiness = new Readiness();
  const { url } = await start({}, { readiness });
  const health = healthOf(url);
  expect((await health.check({})).status).toBe(Status.SERVING);
  readiness.set(false);
  expect((await health.check({ service: "test.v1.EchoService" })).status).toBe(Status.NOT_SERVING);
  const { statuses } = await health.list({});
  expect(Object.keys(statuses)).toEqual(["", "test.v1.EchoService"]);
});

test("a service that is not there is not found", async () => {
  const { url } = await start();
  const error = await errorOf(healthOf(url).check({ service: "test.v1.Nothing" }));
  expect(detailOf(error)?.reason).toBe(Reason.NOT_FOUND);
});

test("watch tells every change, and the stop of the server last", async () => {
  const readiness = new Readiness();
  const { url, server } = await start({}, { readiness });
  const seen: Status[] = [];
  const error = await errorOf(
    (async () => {
      for await (const { status } of healthOf(url).watch({ service: "test.v1.EchoService" })) {
        seen.push(status);
        if (seen.length === 1) readiness.set(false);
        if (seen.length === 2) readiness.set(true);
        if (seen.length === 3) void server.close(5000);
      }
    })(),
  );
  expect(seen).toEqual([Status.SERVING, Status.NOT_SERVING, Status.SERVING, Status.NOT_SERVING]);
  expect(detailOf(error)?.reason).toBe(Reason.SHUTTING_DOWN);
});

test("watch of a service that is not there says so and stays open", async () => {
  const { url } = await start();
  const caller = new AbortController();
  const messages = healthOf(url).watch({ service: "test.v1.Nothing" }, { signal: caller.signal });
  for await (const { status } of messages) {
    expect(status).toBe(Status.SERVICE_UNKNOWN);
    break;
  }
  caller.abort();
});

test("plain GET tells it too", async () => {
  const readiness = new Readiness();
  const { url } = await start({}, { readiness });
  const check = async () => {
    const response = await fetch(`${url}/healthz`);
    return [response.status, await response.json(), response.headers.get("cache-control")];
  };
  expect(await check()).toEqual([200, { status: "SERVING" }, "no-store"]);
  readiness.set(false);
  expect(await check()).toEqual([503, { status: "NOT_SERVING" }, "no-store"]);
});

test("checks that went well are not in a log that people read", async () => {
  const { url, log } = await start();
  await healthOf(url).check({});
  await fetch(`${url}/healthz`);
  expect(log.filter(({ msg }) => msg === "call").map(({ level }) => level)).toEqual(["debug", "debug"]);
});
