import { Reason } from "../../gen/omi/error/v1/reason_pb.ts";
import { Refusal } from "./refusal.ts";

/** The rules that a FIELD_INVALID names in its metadata `rule`, and what a field must be like that keeps each. */
export const FIELD_RULES = {
  required: "must be given",
  min_length: "must be longer",
  max_length: "must be shorter",
  max_items: "must have fewer items",
  min: "must be greater",
  max: "must be smaller",
  format: "must have the form that the contract describes",
  constant: "must have the one value that the contract states",
  enum: "must be a value that the contract defines",
  sorted: "must be sorted by name, each name once",
  unique: "must not be there twice",
  exclusive: "must be left out beside the others",
  lifetime: "must be later than the header's timestamp, by at most an hour",
} as const;

/** One of {@link FIELD_RULES}. The contract lists them at REASON_FIELD_INVALID. */
export type FieldRule = keyof typeof FIELD_RULES;

/**
 * The Refusal of a field that is missing or breaks its bounds.
 *
 * @param field its path, e.g. `lines[0].amount`
 * @param options.must what it must be like, e.g. `must be at most 16`, if more is known of it than the rule
 * @param options.message in place of what follows from field and rule
 */
export function fieldInvalid(
  field: string,
  rule: FieldRule,
  options: { readonly must?: string; readonly message?: string; readonly cause?: unknown } = {},
): Refusal {
  const { must = FIELD_RULES[rule], message = `${field} ${must}`, cause } = options;
  return new Refusal(Reason.FIELD_INVALID, message, {
    metadata: { field, rule },
    nextStep: field === "" ? "" : `correct ${field}: it ${must}`,
    cause,
  });
}
