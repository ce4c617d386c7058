import { expect, test } from "vitest";
import { createLogger } from "../../src/core/log.ts";

function lines(log: (logger: ReturnType<typeof createLogger>) => void): Record<string, unknown>[] {
  const written: Record<string, unknown>[] = [];
  const destination = { write: (line: string) => void written.push(JSON.parse(line)) };
  log(createLogger({ level: "info", component: "registry", destination }));
  return written;
}

test("a line names its part and level", () => {
  expect(lines((logger) => logger.info({ a: 1 }, "hello"))).toMatchObject([
    { component: "registry", level: "info", a: 1, msg: "hello" },
  ]);
});

test("fields with the names of secrets are redacted, also below", () => {
  const fields = { email: "a@b.test", user: { password: "p-1" }, headers: { in: { authorization: "Bearer t-1" } } };
  const [line] = lines((logger) => logger.info(fields));
  expect(JSON.stringify(line)).not.toMatch(/a@b|p-1|t-1/);
});

test("of an error, what hangs on it is left out, and its causes are kept", () => {
  const error = Object.assign(new Error("broken", { cause: new Error("disk full") }), { request: "body" });
  const [line] = lines((logger) => logger.error({ err: error }, "failed"));
  expect(JSON.stringify(line)).toContain("disk full");
  expect(JSON.stringify(line)).not.toContain("body");
});
