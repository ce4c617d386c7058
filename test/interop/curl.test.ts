import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { type DescMethodUnary, toJson } from "@bufbuild/protobuf";
import { test } from "vitest";
import { type Caller, jsonCall, pathOf } from "../contract/support/callers.ts";
import { expectTheSame } from "../contract/support/same-everywhere.ts";

/** Runs curl with a request of which it writes nothing but the answer's body. */
async function curl(...parameters: readonly string[]): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)("curl", [
      "--silent",
      "--show-error",
      "--max-time",
      "10",
      ...parameters,
    ]);
    return stdout;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      throw new Error("curl is not installed; install it to run this test", { cause: error });
    }
    throw error;
  }
}

/** POST with JSON. */
function post(...options: readonly string[]): Caller {
  return (url, method, request) =>
    jsonCall(method, request, (body) =>
      curl(...options, "--header", "content-type: application/json", "--data-binary", body, `${url}${pathOf(method)}`),
    );
}

/** GET with JSON in the query, where the RPC has no side effects. */
const getWhereItMayBe: Caller = (url, method, request) =>
  isRead(method)
    ? jsonCall(method, request, () => {
        const message = JSON.stringify(toJson(method.input, request));
        const query = new URLSearchParams({ connect: "v1", encoding: "json", message });
        return curl(`${url}${pathOf(method)}?${query}`);
      })
    : post("--http1.1")(url, method, request);

/** As in google.protobuf.MethodOptions.IdempotencyLevel. */
const NO_SIDE_EFFECTS = 1;

function isRead(method: DescMethodUnary): boolean {
  return method.idempotency === NO_SIDE_EFFECTS;
}

test.each([
  ["POST over HTTP/1.1", post("--http1.1")],
  ["POST over HTTP/2", post("--http2-prior-knowledge")],
  ["GET", getWhereItMayBe],
])("curl with %s", (_, call) => expectTheSame(call));
