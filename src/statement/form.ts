import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { Reason } from "../core/refusal.ts";
import { type Breach, below, outOfBounds } from "./breach.ts";
import { SIGNATURE_LENGTH } from "./ed25519-form.ts";

/** The only version of the Statement format so far. */
export const STATEMENT_VERSION = "1.0";

/** The greatest length of `Statement.data` in bytes. */
const MAX_DATA_LENGTH = 65536;

/** The greatest length of `Statement.type` in characters. */
const MAX_TYPE_LENGTH = 128;

/** Stands for any type where a Statement's type is expected. */
export const ANY_TYPE = "*";

/**
 * What is wrong with a Statement before its data is looked at.
 *
 * @param expectedType the full name of the message it must carry, or {@link ANY_TYPE}
 */
export function formBreach(statement: Statement, expectedType: string): Breach | undefined {
  const { version, type, data, signature } = statement;
  if (version !== STATEMENT_VERSION) {
    return { reason: Reason.VERSION_UNSUPPORTED, path: "", metadata: { supported: STATEMENT_VERSION } };
  }
  if (expectedType === ANY_TYPE) {
    if (type === "") return below("type", outOfBounds("required"));
    if (type.length > MAX_TYPE_LENGTH) return below("type", outOfBounds("max_length"));
  } else if (type !== expectedType) {
    return { reason: Reason.TYPE_MISMATCH, path: "", metadata: { expected: expectedType } };
  }
  if (data.length > MAX_DATA_LENGTH) {
    return { reason: Reason.TOO_LARGE, path: "", metadata: { limit: String(MAX_DATA_LENGTH) } };
  }
  if (data.length === 0) return below("data", outOfBounds("required"));
  if (signature.length === 0) return below("signature", outOfBounds("required"));
  if (signature.length < SIGNATURE_LENGTH) return below("signature", outOfBounds("min_length"));
  if (signature.length > SIGNATURE_LENGTH) return below("signature", outOfBounds("max_length"));
  return undefined;
}
