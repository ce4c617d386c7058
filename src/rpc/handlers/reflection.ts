import { createRegistry, type DescFile, type DescService, type Registry, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import * as v1 from "../../../gen/grpc/reflection/v1/reflection_pb.ts";
import * as v1alpha from "../../../gen/grpc/reflection/v1alpha/reflection_pb.ts";

/**
 * Adds gRPC server reflection (https://github.com/grpc/grpc/blob/master/doc/server-reflection.md) for `services` and
 * itself. Files are sent as they were compiled, so custom options and the extensions that define them are part of them.
 * v1alpha is the same protocol under its old name, which older clients still ask for.
 */
export function registerReflection(router: ConnectRouter, services: readonly DescService[]): void {
  const schema = new Schema([...services, v1.ServerReflection, v1alpha.ServerReflection]);
  router.service(v1.ServerReflection, { serverReflectionInfo: (requests) => answer(schema, requests) });
  router.service(v1alpha.ServerReflection, { serverReflectionInfo: (requests) => answer(schema, requests) });
}

type Request = v1.ServerReflectionRequest | v1alpha.ServerReflectionRequest;

async function* answer<R extends Request>(schema: Schema, requests: AsyncIterable<R>) {
  for await (const originalRequest of requests) {
    yield {
      validHost: originalRequest.host,
      originalRequest,
      messageResponse: messageResponse(schema, originalRequest.messageRequest),
    };
  }
}

function messageResponse(schema: Schema, request: Request["messageRequest"]) {
  switch (request.case) {
    case "listServices":
      return {
        case: "listServicesResponse" as const,
        value: { service: schema.services.map(({ typeName }) => ({ name: typeName })) },
      };
    case "fileByFilename":
      return files(schema.files.get(request.value));
    case "fileContainingSymbol":
      return files(schema.fileOf(request.value));
    case "fileContainingExtension":
      return files(schema.extensions(request.value.containingType).get(request.value.extensionNumber));
    case "allExtensionNumbersOfType": {
      if (schema.registry.getMessage(request.value) === undefined) return failure(Code.NotFound, "not found");
      const extensionNumber = [...schema.extensions(request.value).keys()];
      return {
        case: "allExtensionNumbersResponse" as const,
        value: { baseTypeName: request.value, extensionNumber },
      };
    }
    default:
      return failure(Code.InvalidArgument, "nothing was asked");
  }
}

// A file with all that it imports, so that one answer suffices.
function files(file: DescFile | undefined) {
  if (file === undefined) return failure(Code.NotFound, "not found");
  const fileDescriptorProto = withImports([file]).map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
  return { case: "fileDescriptorResponse" as const, value: { fileDescriptorProto } };
}

function failure(errorCode: Code, errorMessage: string) {
  return { case: "errorResponse" as const, value: { errorCode, errorMessage } };
}

function withImports(files: readonly DescFile[]): DescFile[] {
  const found = new Set(files);
  // A Set's iterator also visits what is added on the way.
  for (const file of found) for (const dependency of file.dependencies) found.add(dependency);
  return [...found];
}

class Schema {
  readonly services: readonly DescService[];
  readonly files: ReadonlyMap<string, DescFile>;
  readonly registry: Registry;

  constructor(services: readonly DescService[]) {
    const files = withImports(services.map(({ file }) => file));
    this.services = services;
    this.files = new Map(files.map((file) => [file.proto.name, file]));
    this.registry = createRegistry(...files);
  }

  /** The file that declares a type, or a method or field of one. */
  fileOf(symbol: string): DescFile | undefined {
    const type = this.registry.get(symbol);
    if (type !== undefined) return type.file;
    const dot = symbol.lastIndexOf(".");
    const parent = this.registry.get(symbol.slice(0, dot));
    const members = parent?.kind === "service" ? parent.methods : parent?.kind === "message" ? parent.members : [];
    return members.some(({ name }) => name === symbol.slice(dot + 1)) ? parent?.file : undefined;
  }

  /** The extensions of a message: number to the file that declares it. */
  extensions(typeName: string): Map<number, DescFile> {
    const found = new Map<number, DescFile>();
    for (const type of this.registry) {
      if (type.kind === "extension" && type.extendee.typeName === typeName) found.set(type.number, type.file);
    }
    return found;
  }
}
