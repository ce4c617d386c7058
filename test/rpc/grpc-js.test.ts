import { readFileSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { StringValueSchema } from "@bufbuild/protobuf/wkt";
import type { ConnectError } from "@connectrpc/connect";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import {
  type ClientUnaryCall,
  credentials,
  Metadata,
  makeGenericClientConstructor,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { Reason, Refusal } from "../../src/core/refusal.ts";
import { detailOf } from "../../src/rpc/client/refusal-from.ts";
import { frameOf } from "../../src/rpc/ready/frame.ts";
import type { OpenStream } from "../../src/rpc/ready/ready-streams.ts";
import { EchoService } from "./support/echo.ts";
import { collect } from "./support/outcomes.ts";
import { cleanUp, start, tls } from "./support/start.ts";

const Client = makeGenericClientConstructor({}, "echo");

function echo(target: string, value: string, secure = false): Promise<string> {
  const channel = secure ? credentials.createSsl(readFileSync(tls.certFile)) : credentials.createInsecure();
  const client = new Client(target, channel);
  cleanUp(() => client.close());
  return new Promise((resolve, reject) => {
    const call: ClientUnaryCall = client.makeUnaryRequest(
      "/test.v1.EchoService/Echo",
      (text: string) => Buffer.from(messageOf(text)),
      (bytes: Buffer) => fromBinary(StringValueSchema, bytes).value,
      value,
      new Metadata(),
      (error: ServiceError | null, answer?: string) => (error === null ? resolve(answer ?? "") : reject(error)),
    );
    call.on("error", () => {});
  });
}

function repeat(target: string, value: string): Promise<string[]> {
  const client = new Client(target, credentials.createInsecure());
  cleanUp(() => client.close());
  const call = client.makeServerStreamRequest(
    "/test.v1.EchoService/Repeat",
    (text: string) => Buffer.from(messageOf(text)),
    (bytes: Buffer) => fromBinary(StringValueSchema, bytes).value,
    value,
    new Metadata(),
  );
  return collect(call);
}

const messageOf = (value: string) => toBinary(StringValueSchema, create(StringValueSchema, { value }));

/** Repeats each request once. */
const twice: OpenStream = (request) => {
  const frames = [frameOf(request), frameOf(request)];
  return { next: () => frames.pop() ?? "end", close() {} };
};

test("grpc-js calls without TLS", async () => {
  const { port } = await start();
  expect(await echo(`localhost:${port}`, "hello")).toBe("hello");
});

test("grpc-js calls with TLS", async () => {
  const { port } = await start({}, { tls, development: false });
  expect(await echo(`localhost:${port}`, "hello", true)).toBe("hello");
});

test("grpc-js sees the code and the ErrorDetail of a refusal", async () => {
  const { port } = await start({
    echo() {
      throw new Refusal(Reason.KEY_NOT_CURRENT, "not current");
    },
  });
  const error: ServiceError = await echo(`localhost:${port}`, "").then(expect.fail, (error) => error);
  expect(error.code).toBe(status.FAILED_PRECONDITION);
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  const trailer = new Headers({ "grpc-status-details-bin": Buffer.from(bytes ?? "").toString("base64") });
  expect(detailOf(findTrailerError(trailer) as ConnectError)?.reason).toBe(Reason.KEY_NOT_CURRENT);
});

test("grpc-js reads a stream of the fast path, long messages compressed", async () => {
  const { port } = await start({}, { readyStreams: new Map([[EchoService.method.repeat, twice]]) });
  for (const value of ["hello", "long".repeat(5000)]) {
    expect(await repeat(`localhost:${port}`, value)).toEqual([value, value]);
  }
});
