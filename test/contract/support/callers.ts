import { execFile } from "node:child_process";
import { promisify } from "node:util";
import {
  type DescMethodUnary,
  fromBinary,
  fromJson,
  type JsonValue,
  type MessageShape,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { credentials, makeGenericClientConstructor, type ServiceError } from "@grpc/grpc-js";
import { onTestFinished } from "vitest";
import { ErrorDetailSchema } from "../../../gen/omi/error/v1/reason_pb.ts";
import { Reason, Refusal } from "../../../src/core/refusal.ts";
import { refusals } from "../../../src/rpc/client/client.ts";
import { refusalFrom } from "../../../src/rpc/client/refusal-from.ts";

/** One way to call an RPC. Rejects with a Refusal that has the Reason that was sent. */
export type Caller = <Method extends DescMethodUnary>(
  url: string,
  method: Method,
  request: MessageShape<Method["input"]>,
) => Promise<MessageShape<Method["output"]>>;

const http2 = { httpVersion: "2" } as const;
const http1 = { httpVersion: "1.1" } as const;

/** Callers of this process, by the protocol and the library. */
export const callers: Record<string, Caller> = {
  "Connect, binary, HTTP/2": connectNode((baseUrl) => createConnectTransport({ baseUrl, ...http2 })),
  "Connect, JSON, HTTP/1.1": connectNode((baseUrl) =>
    createConnectTransport({ baseUrl, ...http1, useBinaryFormat: false }),
  ),
  "Connect, GET where that may be, HTTP/1.1": connectNode((baseUrl) =>
    createConnectTransport({ baseUrl, ...http1, useHttpGet: true }),
  ),
  "gRPC, HTTP/2": connectNode((baseUrl) => createGrpcTransport({ baseUrl })),
  "gRPC-Web, HTTP/1.1": connectNode((baseUrl) => createGrpcWebTransport({ baseUrl, ...http1 })),
  "gRPC, grpc-js": grpcJs,
  "JSON, fetch": (url, method, request) =>
    jsonCall(method, request, async (body) => {
      const response = await fetch(`${url}${pathOf(method)}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
      return response.text();
    }),
  "Connect, buf curl and reflection": bufCurl("connect"),
  "gRPC, buf curl and reflection": bufCurl("grpc"),
  "gRPC-Web, buf curl and reflection": bufCurl("grpcweb"),
};

/**
 * A call with JSON in and out.
 *
 * @param exchange sends a body and returns the one of the answer, be it a message or an error
 */
export async function jsonCall<Method extends DescMethodUnary>(
  method: Method,
  request: MessageShape<Method["input"]>,
  exchange: (body: string) => Promise<string>,
): Promise<MessageShape<Method["output"]>> {
  const body = await exchange(JSON.stringify(toJson(method.input, request)));
  const answer = JSON.parse(body);
  if (typeof answer.code === "string") throw refusalOf(answer);
  return fromJson(method.output, answer as JsonValue) as MessageShape<Method["output"]>;
}

/** The path of an RPC. */
export function pathOf(method: DescMethodUnary): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** What an error says in the JSON form of Connect. */
function refusalOf({ message, details }: { message: string; details: { type: string; value: string }[] }): Refusal {
  const detail = details.find(({ type }) => type.endsWith(ErrorDetailSchema.typeName));
  const { reason } = fromBinary(ErrorDetailSchema, Buffer.from(detail?.value ?? "", "base64"));
  return new Refusal(reason, message);
}

function connectNode(createTransport: (url: string) => Transport): Caller {
  return async (url, method, request) => {
    const transport = refusals(createTransport(url), Reason.REGISTRY_UNAVAILABLE);
    const { message } = await transport.unary(method, undefined, undefined, undefined, request as never);
    return message as MessageShape<typeof method.output> as never;
  };
}

async function grpcJs<Method extends DescMethodUnary>(
  url: string,
  method: Method,
  request: MessageShape<Method["input"]>,
): Promise<MessageShape<Method["output"]>> {
  const definition = {
    path: pathOf(method),
    requestStream: false,
    responseStream: false,
    requestSerialize: (message: MessageShape<Method["input"]>) => Buffer.from(toBinary(method.input, message)),
    requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
    responseSerialize: (message: MessageShape<Method["output"]>) => Buffer.from(toBinary(method.output, message)),
    responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
  };
  const Client = makeGenericClientConstructor({ call: definition }, method.parent.name);
  const client = new Client(new URL(url).host, credentials.createInsecure());
  onTestFinished(() => client.close());
  return new Promise((resolve, reject) => {
    const call = client.call as (
      request: MessageShape<Method["input"]>,
      done: (error: ServiceError | null, answer: MessageShape<Method["output"]>) => void,
    ) => void;
    call.call(client, request, (error, answer) => {
      if (error === null) resolve(answer);
      else reject(refusalFrom(errorInTrailers(error), Reason.REGISTRY_UNAVAILABLE));
    });
  });
}

/** The error that a gRPC library read from the trailers, as Connect reads it. */
function errorInTrailers({ code, metadata }: ServiceError): unknown {
  const headers = new Headers({ "grpc-status": String(code) });
  const [details] = metadata.get("grpc-status-details-bin");
  headers.set("grpc-status-details-bin", Buffer.from(details ?? "").toString("base64"));
  return findTrailerError(headers);
}

function bufCurl(protocol: string): Caller {
  const buf = new URL("../../../node_modules/.bin/buf", import.meta.url).pathname;
  return (url, method, request) =>
    jsonCall(method, request, async (body) => {
      const call = [
        "curl",
        "--protocol",
        protocol,
        "--http2-prior-knowledge",
        "--data",
        body,
        `${url}${pathOf(method)}`,
      ];
      // It writes errors of the server to stderr, and exits with their code.
      return promisify(execFile)(process.execPath, [buf, ...call]).then(
        ({ stdout }) => stdout,
        ({ stderr }: { stderr: string }) => stderr,
      );
    });
}
