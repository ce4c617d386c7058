import { Reason, Refusal, type RefusalMetadata, reasonName } from "../core/refusal.ts";

/** What is wrong with one field of a message, found on the way down and given its full path on the way up. */
export type Breach = {
  readonly reason: Reason;
  /** The field in proto names, relative to where the search began, e.g. `operational_services[2].url`. May be empty. */
  readonly path: string;
  /** What the Reason documents beside `field`. */
  readonly metadata: RefusalMetadata;
};

/** The rule that a FIELD_INVALID names in its metadata. */
export type BoundsRule =
  | "required"
  | "min_length"
  | "max_length"
  | "max_items"
  | "min"
  | "max"
  | "format"
  | "constant"
  /** An enum number that the contract does not define. */
  | "enum"
  /** A parameter list that is not sorted by name, or names one twice. */
  | "sorted";

/** A breach of a field's bounds. */
export function fieldInvalid(rule: BoundsRule): Breach {
  return { reason: Reason.FIELD_INVALID, path: "", metadata: { rule } };
}

/** The same breach, seen from the message or list that `segment` (a field name or `[index]`) leads down from. */
export function below(segment: string, breach: Breach): Breach {
  return { ...breach, path: joinPath(segment, breach.path) };
}

/** The Refusal for a breach in the message at `prefix`. */
export function refuse(prefix: string, breach: Breach, cause?: unknown): Refusal {
  const field = joinPath(prefix, breach.path);
  const details = Object.entries(breach.metadata).map(([key, value]) => `, ${key} ${value}`);
  return new Refusal(breach.reason, `${field}: ${reasonName(breach.reason)}${details.join("")}`, {
    metadata: { field, ...breach.metadata },
    cause,
  });
}

/** `a.b`, or `a[0]`; either side may be empty. */
export function joinPath(left: string, right: string): string {
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
