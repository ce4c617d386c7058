import { readFileSync } from "node:fs";
import { ConnectError, createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { Reason, Refusal } from "../../src/core/refusal.ts";
import { codeOf } from "../../src/rpc/call/codes.ts";
import { requestContext } from "../../src/rpc/call/context.ts";
import { detailOf } from "../../src/rpc/client/refusal-from.ts";
import { EchoService } from "./support/echo.ts";
import { errorOf } from "./support/outcomes.ts";
import { PROTOCOLS, transportOf } from "./support/protocols.ts";
import { start, tls } from "./support/start.ts";

describe.each(PROTOCOLS)("$protocol over HTTP/$httpVersion", (how) => {
  test("answers", async () => {
    const { url } = await start();
    const answer = await createClient(EchoService, transportOf(how, url)).echo({ value: "hello" });
    expect(answer.value).toBe("hello");
  });

  test("answers with TLS", async () => {
    const { port } = await start({}, { tls, development: false });
    const answer = await createClient(EchoService, transportOf(how, `https://localhost:${port}`)).echo({
      value: "hello",
    });
    expect(answer.value).toBe("hello");
  });

  test("carries a refusal with its metadata", async () => {
    const { url, log } = await start({
      echo() {
        throw new Refusal(Reason.TIMESTAMP_TOO_OLD, "too old", { metadata: { now: "12" }, nextStep: "Sign again." });
      },
    });
    const error = await errorOf(createClient(EchoService, transportOf(how, url)).echo({}));
    expect(error.code).toBe(codeOf(Reason.TIMESTAMP_TOO_OLD));
    expect(detailOf(error)).toMatchObject({
      reason: Reason.TIMESTAMP_TOO_OLD,
      metadata: { now: "12" },
      nextStep: "Sign again.",
    });
    expect(log.some(({ outcome }) => outcome === "TIMESTAMP_TOO_OLD")).toBe(true);
  });

  test.each([
    ["any error", () => new Error("top secret")],
    ["the error of a call to somebody else", () => new ConnectError("top secret", codeOf(Reason.TOKEN_REVOKED))],
  ])("hides %s and logs it under the request ID", async (_, makeError) => {
    const { url, log } = await start({
      echo() {
        throw makeError();
      },
    });
    const error = await errorOf(createClient(EchoService, transportOf(how, url)).echo({}));
    const detail = detailOf(error);
    expect(detail?.reason).toBe(Reason.INTERNAL);
    expect(error.code).toBe(codeOf(Reason.INTERNAL));
    expect(error.message).not.toContain("secret");
    const line = log.find(({ level }) => level === "error");
    expect(line).toMatchObject({ err: { message: expect.stringContaining("top secret") } });
    expect(line?.requestId).toBe(detail?.metadata.request_id);
    expect(error.metadata.get("x-request-id")).toBe(detail?.metadata.request_id);
  });

  test("refuses a message that is too large", async () => {
    const { url } = await start({}, { limits: { maxMessageBytes: 1000 } });
    const error = await errorOf(createClient(EchoService, transportOf(how, url)).echo({ value: "x".repeat(2000) }));
    expect(detailOf(error)?.reason).toBe(Reason.TOO_LARGE);
    expect(error.code).toBe(codeOf(Reason.TOO_LARGE));
  });

  test("refuses an RPC that a service lacks", async () => {
    const { url } = await start({});
    const error = await errorOf(createClient(EchoService, transportOf(how, url)).change({}));
    expect(detailOf(error)).toMatchObject({
      reason: Reason.UNIMPLEMENTED,
      metadata: { method: "/test.v1.EchoService/Change" },
    });
  });

  test("refuses an RPC of a service that it does not know", async () => {
    const { url } = await start({}, { routes: () => {} });
    const error = await errorOf(createClient(EchoService, transportOf(how, url)).change({}));
    expect(detailOf(error)?.reason).toBe(Reason.UNIMPLEMENTED);
    expect(error.code).toBe(codeOf(Reason.UNIMPLEMENTED));
  });

  test("ends a call at the server's deadline, if the caller names none", async () => {
    let aborted = false;
    const { url } = await start(
      {
        echo(_, { signal }) {
          signal.addEventListener("abort", () => {
            aborted = true;
          });
          return new Promise(() => {});
        },
      },
      // Long enough for the call to arrive, also on a machine that is busy.
      { limits: { maxDeadlineMs: 300 } },
    );
    const error = await errorOf(createClient(EchoService, transportOf(how, url)).echo({}));
    expect(detailOf(error)?.reason).toBe(Reason.DEADLINE_EXCEEDED);
    expect(aborted).toBe(true);
  });

  test("shortens a deadline that is too far away", async () => {
    let timeoutMs: number | undefined;
    const { url } = await start(
      {
        echo(_, context) {
          timeoutMs = context.timeoutMs();
          return {};
        },
      },
      { limits: { maxDeadlineMs: 1000 } },
    );
    await createClient(EchoService, transportOf(how, url)).echo({}, { timeoutMs: 60_000 });
    expect(timeoutMs).toBeLessThanOrEqual(1000);
  });

  test("tells the handler who calls, and takes over a sane request ID only", async () => {
    const seen: string[] = [];
    const { url } = await start({
      echo(_, context) {
        const { requestId, peer, signal } = requestContext(context);
        expect(peer).toBe("127.0.0.1");
        expect(signal.aborted).toBe(false);
        seen.push(requestId);
        return {};
      },
    });
    const client = createClient(EchoService, transportOf(how, url));
    let echoed: string | null = null;
    const onHeader = (header: Headers) => {
      echoed = header.get("x-request-id");
    };
    await client.echo({}, { headers: { "x-request-id": "caller-1" }, onHeader });
    expect(seen[0]).toBe("caller-1");
    expect(echoed).toBe("caller-1");
    await client.echo({}, { headers: { "x-request-id": "not sane!" }, onHeader });
    expect(seen[1]).toMatch(/^[0-9a-f]{32}$/);
    expect(echoed).toBe(seen[1]);
  });
});

describe("the table of codes", () => {
  const proto = readFileSync(new URL("../../proto/omi/error/v1/reason.proto", import.meta.url), "utf8");
  const documented = [...proto.matchAll(/^ {2}\/\/ \[([A-Z_]+)\](?:.*\n {2}\/\/)*.*\n {2}REASON_([A-Z_]+) = \d+;/gm)];

  test.each(Object.entries(Reason).filter(([, reason]) => reason !== Reason.UNSPECIFIED))(
    "%s has the code that the contract states",
    (name, reason) => {
      const [, code] = documented.find(([, , documentedName]) => documentedName === name) ?? [];
      expect(new ConnectError("", codeOf(reason)).message).toBe(`[${code?.toLowerCase()}]`);
    },
  );
});
