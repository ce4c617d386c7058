import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { Edition } from "@bufbuild/protobuf/wkt";

/**
 * What keeps a message out of the deterministic profile, in which every protobuf library writes the same bytes: maps have
 * no order, Go writes oneofs last, an `optional` scalar puts a zero on the wire, floats have several NaNs; proto2 and the
 * editions add groups and extensions, and types of `google.protobuf` such as Any hide all of these.
 *
 * @returns undefined if the message and all messages in it are fit to be signed
 */
export function profileProblem(schema: DescMessage): string | undefined {
  return problemIn(schema, new Set());
}

function problemIn(schema: DescMessage, seen: Set<DescMessage>): string | undefined {
  if (seen.has(schema)) return undefined;
  seen.add(schema);
  if (schema.file.edition !== Edition.EDITION_PROTO3) return `${schema} is not proto3`;
  if (schema.typeName.startsWith("google.protobuf.")) return `${schema} is not of this contract`;
  for (const field of schema.fields) {
    const problem = fieldProblem(field) ?? (field.message === undefined ? undefined : problemIn(field.message, seen));
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function fieldProblem(field: DescField): string | undefined {
  if (field.fieldKind === "map") return `${field} is a map`;
  // An `optional` scalar is a oneof too.
  if (field.oneof !== undefined || field.proto.proto3Optional) return `${field} is optional or in a oneof`;
  if (field.scalar === ScalarType.FLOAT || field.scalar === ScalarType.DOUBLE) {
    return `${field} is a floating point number`;
  }
  if (field.fieldKind === "list" && isNumber(field) && !field.packed) return `${field} is not packed`;
  return undefined;
}

function isNumber(field: DescField): boolean {
  const { scalar } = field;
  return (
    field.enum !== undefined || (scalar !== undefined && scalar !== ScalarType.STRING && scalar !== ScalarType.BYTES)
  );
}
