import type { DescMessage, Message } from "@bufbuild/protobuf";
import {
  type AnswerHeader,
  AnswerHeaderSchema,
  type Header,
  HeaderSchema,
} from "../../gen/omi/statement/v1/statement_pb.ts";

/** Which header a signed message has: that of requests, or that of answers, events and heads. */
export type HeaderKind = "request" | "answer";

/** Which header a message type has in its field 1; undefined if it has none, and so is no message that is signed. */
export function headerKindOf(schema: DescMessage): HeaderKind | undefined {
  const field = schema.fields.find(({ number }) => number === 1);
  if (field?.name === "header" && field.fieldKind === "message") {
    if (field.message.typeName === HeaderSchema.typeName) return "request";
    if (field.message.typeName === AnswerHeaderSchema.typeName) return "answer";
  }
  return undefined;
}

/** The header of a message whose type has one; undefined if it is absent. */
export function headerOf(message: Message): Header | AnswerHeader | undefined {
  return (message as Message & { header?: Header | AnswerHeader }).header;
}
