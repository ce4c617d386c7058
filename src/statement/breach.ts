import { type FieldRule, fieldInvalid } from "../core/field-invalid.ts";
import { Reason, Refusal, type RefusalMetadata, reasonName } from "../core/refusal.ts";

/** What is wrong with one field of a message, found on the way down and given its full path on the way up. */
export type Breach = {
  readonly reason: Reason;
  /** The field in proto names, relative to where the search began, e.g. `operational_services[2].url`. May be empty. */
  readonly path: string;
  /** What the Reason documents beside `field`. */
  readonly metadata: RefusalMetadata;
  /** For FIELD_INVALID: the rule, and what is known of it. */
  readonly outOfBounds?: { readonly rule: FieldRule; readonly must: string | undefined };
};

/**
 * A breach of a field's bounds.
 *
 * @param must what the field must be like, e.g. `must have at most 32 bytes`, if more is known of it than the rule
 */
export function outOfBounds(rule: FieldRule, must?: string): Breach {
  return { reason: Reason.FIELD_INVALID, path: "", metadata: {}, outOfBounds: { rule, must } };
}

/** The same breach, seen from the message or list that `segment` (a field name or `[index]`) leads down from. */
export function below(segment: string, breach: Breach): Breach {
  return { ...breach, path: joinPath(segment, breach.path) };
}

/** The Refusal for a breach in the message at `prefix`. */
export function refuse(prefix: string, breach: Breach, cause?: unknown): Refusal {
  const field = joinPath(prefix, breach.path);
  if (breach.outOfBounds !== undefined) {
    const { rule, must } = breach.outOfBounds;
    return fieldInvalid(field, rule, { ...(must !== undefined && { must }), cause });
  }
  const details = Object.entries(breach.metadata).map(([key, value]) => `, ${key} ${value}`);
  return new Refusal(breach.reason, `${field}: ${reasonName(breach.reason)}${details.join("")}`, {
    metadata: { field, ...breach.metadata },
    cause,
  });
}

/** `a.b`, or `a[0]`; either side may be empty. */
function joinPath(left: string, right: string): string {
  return left === "" || right === "" || right.startsWith("[") ? left + right : `${left}.${right}`;
}

/**
 * The path of a Statement as a whole.
 *
 * @param field where it is nested in the request; empty for the outermost one, which requests carry in `statement`
 */
export function statementPath(field: string): string {
  return field === "" ? "statement" : field;
}
