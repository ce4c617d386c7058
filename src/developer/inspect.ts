import type { JsonValue } from "@bufbuild/protobuf";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { toHex } from "../core/bytes.ts";
import { Refusal, reasonName } from "../core/refusal.ts";
import { decodeTolerant } from "../statement/canonical.ts";
import { type Opened, openAny, statementId, verifySignature } from "../statement/statement.ts";
import { signedMessages } from "./contract.ts";
import { readable } from "./readable.ts";
import type { FindSignerKey } from "./signer-key.ts";

/** What is wrong, as a party of the mesh would say it. */
export type Fault = { readonly reason: string; readonly field: string; readonly message: string };

/** Whether a signature holds. `unknown`: no key was found to check it with. */
export type SignatureFinding = {
  readonly status: "valid" | "invalid" | "unknown" | "unchecked";
  /** The ID of the key that the statement names. */
  readonly signer?: string;
  /** `valid`, `invalid`: why the key is believed to be the signer's. */
  readonly key_from?: string;
  /** What is behind a status that is not `valid`. */
  readonly fault?: Fault;
};

/** All there is to say about a Statement; JSON as it stands. */
export type Inspection = {
  readonly type: string;
  readonly version: string;
  /** Hex. */
  readonly statement_id: string;
  readonly form: { readonly status: "valid" } | { readonly status: "invalid"; readonly fault: Fault };
  readonly signature: SignatureFinding;
  /** The message, with every Statement in it inspected likewise. Absent if it can't be decoded. */
  readonly message?: JsonValue;
};

/** How to inspect. */
export type InspectOptions = {
  /** Where keys come from. Left out: signatures remain unknown. */
  readonly findKey?: FindSignerKey;
  /** Hosts whose URLs may have plain http. */
  readonly allowPlainHttp?: (host: string) => boolean;
};

// Deeper nesting than the contract has is not followed.
const MAX_DEPTH = 4;

/** Looks at a Statement from all sides. Never throws because of what is in it: that is what is found. */
export async function inspect(statement: Statement, options: InspectOptions = {}): Promise<Inspection> {
  return inspectNested(statement, options, [], 0);
}

/** True if the form of a Statement and of all Statements in it is valid, and no signature is known to be wrong. */
export function isSound(inspection: Inspection): boolean {
  return (
    inspection.form.status === "valid" && inspection.signature.status !== "invalid" && nested(inspection).every(isSound)
  );
}

async function inspectNested(
  statement: Statement,
  options: InspectOptions,
  outer: readonly Opened[],
  depth: number,
): Promise<Inspection> {
  const { type, version } = statement;
  const common = { type, version, statement_id: toHex(statementId(statement)) };
  const opened = tryOpen(statement, options);
  if (!(opened instanceof Refusal)) {
    return {
      ...common,
      form: { status: "valid" },
      signature: await checkSignature(opened, options, outer),
      ...(await showMessage(statement, options, [...outer, opened], depth)),
    };
  }
  return {
    ...common,
    form: { status: "invalid", fault: faultOf(opened) },
    signature: { status: "unchecked" },
    ...(await showMessage(statement, options, outer, depth)),
  };
}

function tryOpen(statement: Statement, { allowPlainHttp }: InspectOptions): Opened | Refusal {
  try {
    return openAny(signedMessages, statement, { ...(allowPlainHttp !== undefined && { allowPlainHttp }) });
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

async function checkSignature(
  opened: Opened,
  { findKey }: InspectOptions,
  outer: readonly Opened[],
): Promise<SignatureFinding> {
  const { signer } = opened.header;
  try {
    const key = await findKey?.(opened, outer);
    if (key === undefined) return { status: "unknown", signer };
    const key_from = key.from;
    try {
      await verifySignature(opened, key.publicKey);
      return { status: "valid", signer, key_from };
    } catch (error) {
      return { status: "invalid", signer, key_from, fault: refusedFault(error) };
    }
  } catch (error) {
    return { status: "unknown", signer, fault: refusedFault(error) };
  }
}

async function showMessage(
  statement: Statement,
  options: InspectOptions,
  outer: readonly Opened[],
  depth: number,
): Promise<{ message?: JsonValue }> {
  const schema = signedMessages.getMessage(statement.type);
  if (schema === undefined || depth > MAX_DEPTH) return {};
  try {
    const message = decodeTolerant(schema, statement.data, "");
    const showStatement = async (inner: Statement) =>
      (await inspectNested(inner, options, outer, depth + 1)) as unknown as JsonValue;
    return { message: await readable(schema, message, { showStatement, withEmpty: false }) };
  } catch (error) {
    if (error instanceof Refusal) return {};
    throw error;
  }
}

/** The inspections inside of a message that was made readable. */
function nested({ message }: Inspection): Inspection[] {
  return found(message);
}

function found(json: unknown): Inspection[] {
  if (typeof json !== "object" || json === null) return [];
  if ("statement_id" in json && "form" in json) return [json as Inspection];
  return Object.values(json).flatMap(found);
}

function refusedFault(error: unknown): Fault {
  if (error instanceof Refusal) return faultOf(error);
  throw error;
}

function faultOf({ reason, metadata, message }: Refusal): Fault {
  return { reason: reasonName(reason), field: metadata.field ?? "", message };
}
