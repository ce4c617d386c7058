import type { Message } from "@bufbuild/protobuf";
import type { AnswerHeader, Header, Statement } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { signedMessages } from "../../../src/developer/contract.ts";
import { openAny } from "../../../src/statement/statement.ts";

/** A Statement of any kind whose signature is not in question. */
export function opened(statement: Statement): { message: Message; header: Header | AnswerHeader } {
  return openAny(signedMessages, statement, { allowPlainHttp: () => true });
}

/** Whom a request is addressed to. */
export function audienceOf(statement: Statement): string {
  const { header } = opened(statement);
  if (!("audience" in header)) throw new Error(`${statement.type} is no request`);
  return header.audience;
}
