import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Statement, StatementSchema } from "../../../gen/omi/statement/v1/statement_pb.ts";
import type { SigningKey } from "../../../src/statement/crypto.ts";
import { signingInput, statementId } from "../../../src/statement/statement.ts";
import { hexMembers, invalid, type JsonObject, type VectorFile } from "./vector.ts";

/** The folder of the statement vectors. */
export const ROOM = "statement";

/** A Statement as members of a vector, with what follows from it and the key that verifies it. */
export function statementMembers(statement: Statement, key: SigningKey): JsonObject {
  const { version, type, data, signature } = statement;
  return {
    version,
    type,
    ...hexMembers({
      data,
      signing_input: signingInput(statement),
      statement_id: statementId(statement),
      public_key: key.publicKey,
      signature,
    }),
  };
}

/** Why a vector is refused. */
export type Expected = {
  /** Where: `open` before the signature is looked at, `verify` when it is. */
  readonly step: "open" | "verify";
  /** The Reason's name. */
  readonly reason: string;
  /** The `field` of its metadata. */
  readonly field: string;
  /** The `rule` of its metadata, if it has one. */
  readonly rule?: string;
};

/** A vector that is refused where a message of `expectedType` is expected. */
export function refused(
  name: string,
  description: string,
  expected: Expected,
  expectedType: string,
  statement: Statement,
  key: SigningKey,
): VectorFile {
  const members = statementMembers(statement, key);
  return invalid(ROOM, name, { description, ...expected, expected_type: expectedType, ...members });
}

/** The Statement with other members, and without a new signature. */
export function exchange(statement: Statement, members: MessageInitShape<typeof StatementSchema>): Statement {
  const { version, type, data, signature } = statement;
  return create(StatementSchema, { version, type, data, signature, ...members });
}
