import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { AnswerHeaderSchema, type Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import type { SigningKey } from "../statement/crypto.ts";
import { type OpenedRequest, signStatement } from "../statement/statement.ts";

/**
 * Signs what a provider answers to an order. It is a record of what happened and doesn't expire.
 *
 * @param message the answer without its header
 * @param now Unix seconds
 */
export function signProviderAnswer<Desc extends DescMessage>(
  schema: Desc,
  message: MessageInitShape<Desc>,
  { order, key, now }: { order: OpenedRequest; key: SigningKey; now: number },
): Statement {
  const header = create(AnswerHeaderSchema, { issuedAt: BigInt(now), inReplyTo: order.id });
  return signStatement(schema, { ...message, header } as MessageInitShape<Desc>, key);
}
