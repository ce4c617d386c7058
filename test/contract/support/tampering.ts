import {
  create,
  type DescMessage,
  fromBinary,
  getOption,
  type Message,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { carries } from "../../../gen/omi/options/v1/options_pb.ts";
import { SuspendSchema, UnbindSchema } from "../../../gen/omi/registry/v1/service_pb.ts";
import {
  type Header,
  HeaderSchema,
  type Statement,
  StatementSchema,
} from "../../../gen/omi/statement/v1/statement_pb.ts";
import { concatBytes } from "../../../src/core/bytes.ts";
import { Reason } from "../../../src/core/refusal.ts";
import type { SigningKey } from "../../../src/statement/crypto.ts";
import { headerOf } from "../../../src/statement/header.ts";
import { signData, signingInput, signStatement } from "../../../src/statement/statement.ts";
import { contract } from "../../statement/contract.ts";
import { testKey } from "../../support/keys.ts";

/** A statement that is about to be sent. */
export interface Draft {
  statement: Statement;
  /** Who signed the statement (path ``), and who signed what is nested in it, by the paths of the fields. */
  keys: Readonly<Record<string, SigningKey>>;
  /** What else stands in the request. */
  beside?: Record<string, unknown>;
  /**
   * By the field of a nested statement: brings in line what follows from it, after it was changed and before the outermost
   * one is signed again.
   */
  mend?: Readonly<Record<string, (outer: Message) => void>>;
}

/** Makes something wrong with a statement that `key` signed. */
export type Tamper = (statement: Statement, key: SigningKey) => Statement;

/** Makes something wrong with the statement at a path, and signs anew everything that it is nested in. */
export function tampered(draft: Draft, path: string, tamper: Tamper): Draft {
  const segments = path === "" ? [] : path.split(".");
  return { ...draft, statement: tamperedAt(draft, draft.statement, "", segments, tamper) };
}

/** Changes the message in the statement at a path, and signs anew it and everything that it is nested in. */
export function altered<Desc extends DescMessage>(
  draft: Draft,
  path: string,
  schema: Desc,
  change: (message: MessageShape<Desc>) => void,
): Draft {
  return tampered(draft, path, (statement, key) => changed(schema, statement, key, change));
}

/** Takes a nested statement away. */
export function without(draft: Draft, path: string): Draft {
  const parent = path.split(".").slice(0, -1).join(".");
  return tampered(draft, parent, (statement, key) =>
    changed(schemaOf(statement), statement, key, (message) => setNested(message, path.split(".").at(-1), undefined)),
  );
}

/** A statement's message, changed and signed again. */
export function changed<Desc extends DescMessage>(
  schema: Desc,
  statement: Statement,
  key: SigningKey,
  change: (message: MessageShape<Desc>) => void,
): Statement {
  const message = fromBinary(schema, statement.data);
  change(message);
  return signStatement(schema, message as never, key);
}

/** The same, where only the header changes. */
export function withHeader(
  statement: Statement,
  key: SigningKey,
  fields: Partial<{ audience: string; timestamp: bigint; nonce: Uint8Array }>,
): Statement {
  return changed(schemaOf(statement), statement, key, (message) => Object.assign(headerOf(message) ?? {}, fields));
}

/** The header of a statement that asks for something. */
export function requestHeader(statement: Statement): Header {
  const header = headerOf(fromBinary(schemaOf(statement), statement.data));
  if (header?.$typeName !== HeaderSchema.typeName) throw new Error(`${statement.type} is no request`);
  return header;
}

/** The paths at which statements are nested in a message type, at every depth, those that may be absent included. */
export function nestedPaths(schema: DescMessage): string[] {
  return schema.fields.flatMap((field) => {
    if (field.message?.typeName !== StatementSchema.typeName) return [];
    const carried = contract.getMessage(getOption(field, carries));
    return [field.name, ...(carried ? nestedPaths(carried).map((path) => `${field.name}.${path}`) : [])];
  });
}

/** What can be wrong with any statement, and what the receiver says to it. */
export const faults = {
  "another version": [Reason.VERSION_UNSUPPORTED, (statement, key) => sealed({ ...statement, version: "1.1" }, key)],
  "a message of another type": [
    Reason.TYPE_MISMATCH,
    (statement, key) => signData(otherTypeThan(statement), statement.data, key),
  ],
  "a signature made for another type": [
    Reason.SIGNATURE_INVALID,
    ({ type, data }, key) => create(StatementSchema, { ...signData(otherTypeThan({ type }), data, key), type }),
  ],
  "bytes that are no message": [
    Reason.MALFORMED,
    ({ type }, key) => signData(type, Uint8Array.of(0x0a, 0x05, 0x01), key),
  ],
  "a message written twice over": [
    Reason.NOT_CANONICAL,
    ({ type, data }, key) => signData(type, concatBytes(data, data), key),
  ],
  "a field of no meaning": [
    Reason.UNKNOWN_FIELD,
    ({ type, data }, key) => signData(type, concatBytes(data, Uint8Array.of(0xc0, 0x3e, 1)), key),
  ],
  "a field of no meaning in its header": [
    Reason.UNKNOWN_FIELD,
    (statement, key) => {
      const message = fromBinary(schemaOf(statement), statement.data);
      const header = headerOf(message);
      if (header !== undefined) header.$unknown = [{ no: 1000, wireType: 0, data: Uint8Array.of(1) }];
      return signData(statement.type, toBinary(schemaOf(statement), message), key);
    },
  ],
  "a nonce of 15 bytes": [
    Reason.FIELD_INVALID,
    (statement, key) => withHeader(statement, key, { nonce: new Uint8Array(15).fill(1) }),
  ],
  "another audience": [
    Reason.AUDIENCE_MISMATCH,
    (statement, key) => withHeader(statement, key, { audience: "elsewhere.test" }),
  ],
  "no signature": [
    Reason.FIELD_INVALID,
    (statement) => create(StatementSchema, { ...statement, signature: new Uint8Array() }),
  ],
  "a wrong signature": [
    Reason.SIGNATURE_INVALID,
    (statement) => create(StatementSchema, { ...statement, signature: flipped(statement.signature) }),
  ],
  "a stranger's signature in the signer's name": [
    Reason.SIGNATURE_INVALID,
    (statement) => signData(statement.type, statement.data, stranger),
  ],
  "a stranger's signature": [
    Reason.SIGNER_UNKNOWN,
    (statement) => changed(schemaOf(statement), statement, stranger, () => {}),
  ],
} satisfies Record<string, [Reason, Tamper]>;

/** Those that only a message with a Header can have. */
export const faultsOfRequests: ReadonlySet<string> = new Set<FaultName>(["a nonce of 15 bytes", "another audience"]);

/** The name of something that can be wrong with a statement. */
export type FaultName = keyof typeof faults;

/** A key that nobody knows. */
const stranger = testKey("stranger");

/** A statement of any version, rightly signed. */
function sealed(unsigned: Pick<Statement, "version" | "type" | "data">, key: SigningKey): Statement {
  const { version, type, data } = unsigned;
  return create(StatementSchema, { version, type, data, signature: key.sign(signingInput({ version, type, data })) });
}

function otherTypeThan({ type }: Pick<Statement, "type">): string {
  return type === SuspendSchema.typeName ? UnbindSchema.typeName : SuspendSchema.typeName;
}

function flipped(signature: Uint8Array): Uint8Array {
  const copy = signature.slice();
  copy[10] = (copy[10] ?? 0) ^ 1;
  return copy;
}

function tamperedAt(
  draft: Draft,
  statement: Statement,
  path: string,
  segments: readonly string[],
  tamper: Tamper,
): Statement {
  const key = draft.keys[path];
  if (key === undefined) throw new Error(`the draft says no key for ${path}`);
  const [segment, ...rest] = segments;
  if (segment === undefined) return tamper(statement, key);
  return changed(schemaOf(statement), statement, key, (message) => {
    const inner = nested(message, segment);
    const innerPath = path === "" ? segment : `${path}.${segment}`;
    setNested(message, segment, tamperedAt(draft, inner, innerPath, rest, tamper));
    if (path === "") draft.mend?.[segment]?.(message);
  });
}

function schemaOf(statement: Statement): DescMessage {
  const schema = contract.getMessage(statement.type);
  if (schema === undefined) throw new Error(`no message ${statement.type}`);
  return schema;
}

function nested(message: Message, field: string): Statement {
  const found = (message as unknown as Record<string, Statement | undefined>)[localName(message, field)];
  if (found === undefined) throw new Error(`no statement in ${field}`);
  return found;
}

function setNested(message: Message, field: string | undefined, value: Statement | undefined): void {
  (message as unknown as Record<string, Statement | undefined>)[localName(message, field)] = value;
}

function localName(message: Message, field: string | undefined): string {
  const found = contract.getMessage(message.$typeName)?.fields.find(({ name }) => name === field);
  if (found === undefined) throw new Error(`${message.$typeName} has no field ${field}`);
  return found.localName;
}
