import { create, type DescMessage, type MessageInitShape, type MessageShape, type Registry } from "@bufbuild/protobuf";
import type { AnswerHeader, Header, Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { SigningInputSchema, StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { Reason } from "../core/refusal.ts";
import { checkBounds } from "./bounds.ts";
import { below, outOfBounds, refuse, statementPath } from "./breach.ts";
import { decodeCanonical, decodeTolerant, encodeCanonical, findUnknownField } from "./canonical.ts";
import { type SigningKey, sha256, verify } from "./crypto.ts";
import { ANY_TYPE, formBreach, STATEMENT_VERSION } from "./form.ts";
import { headerKindOf, headerOf } from "./header.ts";
import { keyIdOf } from "./key-id.ts";

/** A Statement that was decoded and checked. Its signature was not, until {@link verifySignature} says so. */
export type Opened<Desc extends DescMessage = DescMessage, H extends Header | AnswerHeader = Header | AnswerHeader> = {
  /** The Statement ID, 32 bytes: what "the same Statement" means. */
  readonly id: Uint8Array;
  /** The full name of the message type. */
  readonly type: string;
  /** The message. Its bytes fields are views into `statement.data`. */
  readonly message: MessageShape<Desc>;
  /** The message's header. */
  readonly header: H;
  /** The Statement as received: what is kept and passed on. */
  readonly statement: Statement;
  /** The bytes that the signature covers. */
  readonly signingInput: Uint8Array;
  /** The path of the Statement in the request it came with, for refusals. Empty if it is the outermost one. */
  readonly field: string;
};

/** An opened request, endorsement, receipt or proof of possession. */
export type OpenedRequest<Desc extends DescMessage = DescMessage> = Opened<Desc, Header>;

/** An opened answer, event or head. */
export type OpenedAnswer<Desc extends DescMessage = DescMessage> = Opened<Desc, AnswerHeader>;

/** Options of {@link openRequest}, {@link openAnswer} and {@link openAny}. */
export type OpenOptions = {
  /**
   * The path of a nested Statement, e.g. `developer_proof`: the beginning of every `field` in a refusal. Empty, the
   * default, for the outermost one, whose fields are named without a beginning, and which is itself named `statement`.
   */
  readonly field?: string;
  /** Hosts whose URLs may have plain http: for development. None if left out. */
  readonly allowPlainHttp?: (host: string) => boolean;
};

/** The bytes that a Statement's signature covers: the deterministic encoding of SigningInput. */
export function signingInput({ version, type, data }: Pick<Statement, "version" | "type" | "data">): Uint8Array {
  return encodeCanonical(SigningInputSchema, create(SigningInputSchema, { version, type, data }));
}

/** The Statement ID, 32 bytes. The signature is no part of it. */
export function statementId(statement: Pick<Statement, "version" | "type" | "data">): Uint8Array {
  return sha256(signingInput(statement));
}

/**
 * Signs a message. Its header must be there, but for the signer, which is filled in.
 *
 * @throws TypeError if the message has no header, or its type none
 */
export function signStatement<Desc extends DescMessage>(
  schema: Desc,
  message: MessageInitShape<Desc>,
  key: SigningKey,
): Statement {
  const { header } = message as { header?: object };
  if (headerKindOf(schema) === undefined || header === undefined) {
    throw new TypeError(`a ${schema.typeName} without header cannot be signed`);
  }
  // What is the caller's stays as it is.
  const own = create(schema, { ...message, header: { ...header, signer: key.keyId } } as MessageInitShape<Desc>);
  return signData(schema.typeName, encodeCanonical(schema, own), key);
}

/** Signs bytes as they are, as the encoding of the message type they are said to be. */
export function signData(type: string, data: Uint8Array, key: SigningKey): Statement {
  const unsigned = { version: STATEMENT_VERSION, type, data };
  return create(StatementSchema, { ...unsigned, signature: key.sign(signingInput(unsigned)) });
}

/**
 * Opens a Statement that asks this party for something, strictly: nothing in it is left without meaning, so that signer
 * and receiver cannot read different things in the same bytes.
 *
 * @throws Refusal VERSION_UNSUPPORTED, TYPE_MISMATCH, TOO_LARGE, MALFORMED, UNKNOWN_FIELD, NOT_CANONICAL, FIELD_INVALID or
 *   KEY_INVALID
 * @throws TypeError if the message type is not one of requests
 */
export function openRequest<Desc extends DescMessage>(
  schema: Desc,
  statement: Statement | undefined,
  options: OpenOptions = {},
): OpenedRequest<Desc> {
  if (headerKindOf(schema) !== "request") throw new TypeError(`${schema.typeName} is not a request`);
  const { field = "" } = options;
  checkForm(statement, schema.typeName, field);
  const unknown = findUnknownField(StatementSchema, statement);
  if (unknown !== undefined) throw refuse(statementPath(field), unknown);
  const message = decodeCanonical(schema, statement.data, field);
  checkBounds(schema, message, options);
  return opened(schema, statement, message, field) as OpenedRequest<Desc>;
}

/**
 * Opens a Statement that this party asked for or subscribed to. Fields that a later version of the contract added are
 * ignored, and so is how the bytes came about; the signature holds for the bytes as they are. What the fields hold is not
 * checked either: call `checkBounds` for an answer whose signer is not trusted to have done so.
 *
 * @throws Refusal VERSION_UNSUPPORTED, TYPE_MISMATCH, TOO_LARGE, MALFORMED, or FIELD_INVALID if the header is missing
 * @throws TypeError if the message type is not one of answers
 */
export function openAnswer<Desc extends DescMessage>(
  schema: Desc,
  statement: Statement | undefined,
  options: Pick<OpenOptions, "field"> = {},
): OpenedAnswer<Desc> {
  if (headerKindOf(schema) !== "answer") throw new TypeError(`${schema.typeName} is not an answer`);
  const { field = "" } = options;
  checkForm(statement, schema.typeName, field);
  const message = decodeTolerant(schema, statement.data, field);
  return opened(schema, statement, message, field) as OpenedAnswer<Desc>;
}

/**
 * The message of an answer that still has to be opened and verified, for finding out who is to do that.
 *
 * @throws Refusal VERSION_UNSUPPORTED, TYPE_MISMATCH, TOO_LARGE or MALFORMED
 */
export function peekAnswer<Desc extends DescMessage>(schema: Desc, statement: Statement): MessageShape<Desc> {
  checkForm(statement, schema.typeName, "");
  return decodeTolerant(schema, statement.data, "");
}

/**
 * Opens any Statement whose type is in `registry`, as its header says: for tools that show Statements.
 *
 * @throws Refusal as {@link openRequest} and {@link openAnswer} do; TYPE_MISMATCH for a type that is not in `registry` or
 *   is never signed
 */
export function openAny(registry: Registry, statement: Statement | undefined, options: OpenOptions = {}): Opened {
  const { field = "" } = options;
  checkForm(statement, ANY_TYPE, field);
  const schema = registry.getMessage(statement.type);
  const kind = schema && headerKindOf(schema);
  if (schema === undefined || kind === undefined) {
    throw refuse(statementPath(field), { reason: Reason.TYPE_MISMATCH, path: "", metadata: { expected: ANY_TYPE } });
  }
  return kind === "request" ? openRequest(schema, statement, options) : openAnswer(schema, statement, options);
}

/**
 * Verifies that the holder of `publicKey` signed the Statement. Whether that key may sign it, here and now, is the
 * caller's question.
 *
 * @throws Refusal SIGNER_UNKNOWN if the header names another key, SIGNATURE_INVALID if the signature does not verify
 */
export async function verifySignature(statement: Opened, publicKey: Uint8Array): Promise<void> {
  if (keyIdOf(publicKey) !== statement.header.signer) {
    throw refuse(statement.field, { reason: Reason.SIGNER_UNKNOWN, path: "header.signer", metadata: {} });
  }
  if (!(await verify(publicKey, statement.signingInput, statement.statement.signature))) {
    throw refuse(statementPath(statement.field), { reason: Reason.SIGNATURE_INVALID, path: "", metadata: {} });
  }
}

function checkForm(
  statement: Statement | undefined,
  expectedType: string,
  field: string,
): asserts statement is Statement {
  const breach = statement === undefined ? outOfBounds("required") : formBreach(statement, expectedType);
  if (breach !== undefined) throw refuse(statementPath(field), breach);
}

function opened<Desc extends DescMessage>(
  schema: Desc,
  statement: Statement,
  message: MessageShape<Desc>,
  field: string,
): Opened<Desc> {
  const header = headerOf(message);
  if (header === undefined) throw refuse(field, below("header", outOfBounds("required")));
  const input = signingInput(statement);
  return { id: sha256(input), type: schema.typeName, message, header, statement, signingInput: input, field };
}
