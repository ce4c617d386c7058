import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { createFileRegistry, fromBinary, getOption } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import * as v1 from "../../../gen/grpc/reflection/v1/reflection_pb.ts";
import * as v1alpha from "../../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { Access, rule } from "../../../gen/omi/options/v1/options_pb.ts";
import { collect } from "../support/outcomes.ts";
import { cleanUp, start } from "../support/start.ts";

type Question = v1.ServerReflectionRequest["messageRequest"];

async function ask(messageRequest: Question): Promise<v1.ServerReflectionResponse["messageResponse"]> {
  const { url } = await start();
  const sessionManager = new Http2SessionManager(url);
  cleanUp(() => sessionManager.abort());
  const client = createClient(v1.ServerReflection, createGrpcTransport({ baseUrl: url, sessionManager }));
  async function* requests() {
    yield { messageRequest };
  }
  const [answer] = await collect(client.serverReflectionInfo(requests()));
  return answer?.messageResponse ?? { case: undefined };
}

async function filesOf(question: Question): Promise<string[]> {
  const answer = await ask(question);
  if (answer.case !== "fileDescriptorResponse") return [answer.case ?? "nothing"];
  return answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name);
}

describe("reflection", () => {
  test("lists the services, health and itself among them", async () => {
    const answer = await ask({ case: "listServices", value: "" });
    expect(answer.value).toMatchObject({
      service: [
        { name: "test.v1.EchoService" },
        { name: "grpc.health.v1.Health" },
        { name: v1.ServerReflection.typeName },
        { name: v1alpha.ServerReflection.typeName },
      ],
    });
  });

  test.each([
    ["a file", { case: "fileByFilename", value: "test/v1/echo.proto" }],
    ["a service", { case: "fileContainingSymbol", value: "test.v1.EchoService" }],
    ["a method", { case: "fileContainingSymbol", value: "test.v1.EchoService.Echo" }],
    ["a message", { case: "fileContainingSymbol", value: "test.v1.Unused" }],
    ["a field", { case: "fileContainingSymbol", value: "test.v1.Unused.note" }],
  ] as [string, Question][])("sends the file of %s with all that it imports", async (_, question) => {
    const files = await filesOf(question);
    expect(files[0]).toBe("test/v1/echo.proto");
    expect(files).toContain("omi/options/v1/options.proto");
    expect(files).toContain("google/protobuf/descriptor.proto");
  });

  test("sends the file of an extension, and the numbers of all", async () => {
    const containingType = "google.protobuf.MethodOptions";
    const extension = {
      $typeName: "grpc.reflection.v1.ExtensionRequest" as const,
      containingType,
      extensionNumber: rule.number,
    };
    expect((await filesOf({ case: "fileContainingExtension", value: extension }))[0]).toBe(
      "omi/options/v1/options.proto",
    );
    const numbers = await ask({ case: "allExtensionNumbersOfType", value: containingType });
    expect(numbers.value).toMatchObject({ extensionNumber: [rule.number] });
  });

  test.each([
    ["an unknown symbol", { case: "fileContainingSymbol", value: "test.v1.EchoService.Nothing" }],
    ["an unknown file", { case: "fileByFilename", value: "nothing.proto" }],
    ["no question", { case: undefined }],
  ] as [string, Question][])("answers %s with an error, not with the end of the stream", async (_, question) => {
    expect((await ask(question)).case).toBe("errorResponse");
  });

  test("keeps the custom options", async () => {
    const answer = await ask({ case: "fileByFilename", value: "test/v1/echo.proto" });
    if (answer.case !== "fileDescriptorResponse") expect.fail();
    const [first, ...imports] = answer.value.fileDescriptorProto.map((bytes) =>
      fromBinary(FileDescriptorProtoSchema, bytes),
    );
    if (first === undefined) expect.fail();
    const registry = createFileRegistry(first, (name) => imports.find((file) => file.name === name));
    const method = registry.getService("test.v1.EchoService")?.method.echo;
    expect(method && getOption(method, rule).access).toBe(Access.OPEN);
  });
});

test.each(["grpc", "connect", "grpcweb"])("buf curl calls with %s, knowing only reflection", async (protocol) => {
  const { url } = await start();
  const buf = new URL("../../../node_modules/.bin/buf", import.meta.url).pathname;
  const flags = ["--protocol", protocol, "--http2-prior-knowledge", "--data", '"hello"'];
  const { stdout } = await promisify(execFile)(process.execPath, [
    buf,
    "curl",
    ...flags,
    `${url}/test.v1.EchoService/Echo`,
  ]);
  expect(JSON.parse(stdout)).toBe("hello");
});
