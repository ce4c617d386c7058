import { create, createFileRegistry, type DescMessage, type MessageInitShape, setExtension } from "@bufbuild/protobuf";
import {
  type DescriptorProtoSchema,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type FieldDescriptorProtoSchema,
  FieldOptionsSchema,
  FileDescriptorProtoSchema,
  file_google_protobuf_any,
  file_google_protobuf_timestamp,
} from "@bufbuild/protobuf/wkt";
import { file_omi_key_v1_key } from "../../gen/omi/key/v1/key_pb.ts";
import { BoundsSchema, bounds as boundsOption, carries as carriesOption } from "../../gen/omi/options/v1/options_pb.ts";
import { file_omi_statement_v1_statement } from "../../gen/omi/statement/v1/statement_pb.ts";

const DEPENDENCIES = [
  file_omi_key_v1_key,
  file_omi_statement_v1_statement,
  file_google_protobuf_any,
  file_google_protobuf_timestamp,
];

export const FieldType = FieldDescriptorProto_Type;

/** A field of a made-up message. */
export type FieldSpec = Exclude<MessageInitShape<typeof FieldDescriptorProtoSchema>, { $typeName: string }> & {
  repeated?: boolean;
  bounds?: MessageInitShape<typeof BoundsSchema>;
  carries?: string;
};

/** The descriptor of a made-up message, `test.Subject`, whose field names are those of `fields`, numbered from 1. */
export function messageWith(
  fields: Record<string, FieldSpec>,
  more: Exclude<MessageInitShape<typeof FileDescriptorProtoSchema>, { $typeName: string }> = {},
  oneofs: string[] = [],
  nestedTypes: MessageInitShape<typeof DescriptorProtoSchema>[] = [],
): DescMessage {
  const file = create(FileDescriptorProtoSchema, {
    name: "test.proto",
    package: "test",
    syntax: "proto3",
    dependency: DEPENDENCIES.map(({ proto }) => proto.name),
    ...more,
    messageType: [
      {
        name: "Subject",
        field: Object.entries(fields).map(([name, spec], i) => fieldProto(name, i + 1, spec)),
        oneofDecl: oneofs.map((name) => ({ name })),
        nestedType: nestedTypes,
      },
      ...(more.messageType ?? []),
    ],
  });
  const registry = createFileRegistry(file, (name) => DEPENDENCIES.find(({ proto }) => proto.name === name));
  const subject = registry.getMessage("test.Subject");
  if (subject === undefined) throw new Error("test.Subject was not made");
  return subject;
}

function fieldProto(
  name: string,
  number: number,
  spec: FieldSpec,
): MessageInitShape<typeof FieldDescriptorProtoSchema> {
  const { repeated = false, bounds, carries, ...proto } = spec;
  const options = create(FieldOptionsSchema, proto.options ?? {});
  if (bounds !== undefined) setExtension(options, boundsOption, create(BoundsSchema, bounds));
  if (carries !== undefined) setExtension(options, carriesOption, carries);
  const label = repeated ? FieldDescriptorProto_Label.REPEATED : FieldDescriptorProto_Label.OPTIONAL;
  return { name, number, label, ...proto, options };
}
