import { create, type DescField, type DescMessage, toBinary } from "@bufbuild/protobuf";
import { AnswerHeaderSchema, SigningInputSchema, StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { FRAME_PREFIX_BYTES } from "../rpc/ready/frame.ts";
import { SIGNATURE_LENGTH } from "../statement/ed25519-form.ts";
import { STATEMENT_VERSION } from "../statement/form.ts";

/** The parts of an answer that are the same for all who ask the same in the same second. */
export interface AnswerParts {
  /** The type of the answer's message. */
  readonly schema: DescMessage;
  /** The answer's header without `query`, encoded. */
  readonly header: Uint8Array;
  /** The answer's other fields, encoded. */
  readonly body: Uint8Array;
  /** What stands in the response behind the answer, encoded. */
  readonly hint: Uint8Array;
}

/** An answer in a response in a gRPC frame, in one piece of memory, but for its signature. */
export interface UnsignedFrame {
  readonly frame: Uint8Array;
  /** The part of it that is to be signed. */
  readonly input: Uint8Array;
  /** The part of it where the signature belongs. */
  readonly signature: Uint8Array;
}

/**
 * Puts an answer to a query together. It writes what the protobuf library would write of the same messages, in a tenth of
 * the time: as `header` is the first field of every answer and `query` the last field of the header, the deterministic
 * encoding is its parts one after the other.
 */
export function unsignedFrame({ schema, header, body, hint }: AnswerParts, query: Uint8Array): UnsignedFrame {
  const type = typeFields(schema);
  const querySize = query.length === 0 ? 0 : sizeOf(query.length);
  const headerLength = header.length + querySize;
  const dataLength = sizeOf(headerLength) + body.length;
  const inputLength = type.length + sizeOf(dataLength);
  const statementLength = inputLength + sizeOf(SIGNATURE_LENGTH);
  const responseLength = sizeOf(statementLength) + hint.length;

  const frame = new Uint8Array(FRAME_PREFIX_BYTES + responseLength);
  let at = 1;
  const put = (bytes: Uint8Array) => {
    frame.set(bytes, at);
    at += bytes.length;
  };
  const open = (tag: number, length: number) => {
    frame[at++] = tag;
    let left = length;
    for (; left > 127; left >>>= 7) frame[at++] = (left & 127) | 128;
    frame[at++] = left;
  };
  for (let shift = 24; shift >= 0; shift -= 8) frame[at++] = responseLength >>> shift;
  open(answerTag, statementLength);
  const input = frame.subarray(at, at + inputLength);
  put(type);
  open(dataTag, dataLength);
  open(headerTag, headerLength);
  put(header);
  if (query.length > 0) {
    open(queryTag, query.length);
    put(query);
  }
  put(body);
  open(signatureTag, SIGNATURE_LENGTH);
  const signature = frame.subarray(at, at + SIGNATURE_LENGTH);
  at += SIGNATURE_LENGTH;
  put(hint);
  return { frame, input, signature };
}

/** The tag of a field with a length. All fields here have numbers below 16, so that it takes one byte. */
function tagOf({ number }: Pick<DescField, "number">): number {
  return (number << 3) | 2;
}

/** What a field of so many bytes takes together with its tag and length. */
function sizeOf(length: number): number {
  let lengthBytes = 1;
  for (let left = length; left > 127; left >>>= 7) lengthBytes++;
  return 1 + lengthBytes + length;
}

const { data, signature } = StatementSchema.field;
const dataTag = tagOf(data);
const signatureTag = tagOf(signature);
const queryTag = tagOf(AnswerHeaderSchema.field.query);
/** `header` is field 1 of every answer, `answer` of every response. */
const headerTag = tagOf({ number: 1 });
const answerTag = headerTag;

const typeFieldsBySchema = new Map<DescMessage, Uint8Array>();

/** The version and type of a Statement, as it begins, encoded. */
function typeFields(schema: DescMessage): Uint8Array {
  let fields = typeFieldsBySchema.get(schema);
  if (fields === undefined) {
    const input = create(SigningInputSchema, { version: STATEMENT_VERSION, type: schema.typeName });
    fields = toBinary(SigningInputSchema, input);
    typeFieldsBySchema.set(schema, fields);
  }
  return fields;
}
