import { create, createFileRegistry, setExtension } from "@bufbuild/protobuf";
import type { GenService } from "@bufbuild/protobuf/codegenv2";
import {
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
  file_google_protobuf_wrappers,
  MethodOptions_IdempotencyLevel,
  MethodOptionsSchema,
  type StringValueSchema,
} from "@bufbuild/protobuf/wkt";
import { Access, file_omi_options_v1_options, rule } from "../../../gen/omi/options/v1/options_pb.ts";
import { COMPRESS_MIN_BYTES } from "../../../src/rpc/ready/frame.ts";

const STRING = ".google.protobuf.StringValue";

const noSideEffects = create(MethodOptionsSchema, { idempotencyLevel: MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS });
setExtension(noSideEffects, rule, {
  $typeName: "omi.options.v1.MethodRule",
  access: Access.OPEN,
  failsWith: [],
  cacheable: true,
});

const file = create(FileDescriptorProtoSchema, {
  name: "test/v1/echo.proto",
  package: "test.v1",
  syntax: "proto3",
  dependency: [file_google_protobuf_wrappers.proto.name, file_omi_options_v1_options.proto.name],
  messageType: [
    { name: "Unused", field: [{ name: "note", number: 1, type: FieldDescriptorProto_Type.STRING, jsonName: "note" }] },
  ],
  service: [
    {
      name: "EchoService",
      method: [
        { name: "Echo", inputType: STRING, outputType: STRING, options: noSideEffects },
        { name: "Change", inputType: STRING, outputType: STRING },
        { name: "Repeat", inputType: STRING, outputType: STRING, serverStreaming: true },
        { name: "Join", inputType: STRING, outputType: STRING, clientStreaming: true },
        { name: "Chat", inputType: STRING, outputType: STRING, clientStreaming: true, serverStreaming: true },
      ],
    },
  ],
});

type Method<Kind> = { methodKind: Kind; input: typeof StringValueSchema; output: typeof StringValueSchema };

/** A service with an RPC of each kind, made here because the contract holds no test services. */
export const EchoService = createFileRegistry(file, (name) =>
  [file_google_protobuf_wrappers, file_omi_options_v1_options].find(({ proto }) => proto.name === name),
).getService("test.v1.EchoService") as GenService<{
  echo: Method<"unary">;
  change: Method<"unary">;
  repeat: Method<"server_streaming">;
  join: Method<"client_streaming">;
  chat: Method<"bidi_streaming">;
}>;

/** Options of a service whose calls all go through connect, as it asks for something of connect's own: what is set anyway. */
export const byConnect = { compressMinBytes: COMPRESS_MIN_BYTES };
