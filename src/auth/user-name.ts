import { fieldInvalid } from "../core/field-invalid.ts";

/** The greatest length of a normalised user name in bytes of UTF-8. */
const MAX_LENGTH = 254;

// Control and format characters, private use, and code points that Unicode doesn't define yet and may normalise
// differently once it does.
const INVISIBLE = /\p{C}/u;

/**
 * The form in which user names are compared and kept: NFKC, lower case. Full-width letters, ligatures and capitals are
 * other spellings of the same name.
 *
 * @throws Refusal FIELD_INVALID {field: "user_name"} for a name with blanks at its ends, with invisible characters, or
 *   longer than 254 bytes once normalised
 */
export function normaliseUserName(name: string): string {
  // Lower-casing can leave what NFKC would write otherwise.
  const normalised = name.normalize("NFKC").toLowerCase().normalize("NFKC");
  if (normalised.trim() !== normalised || normalised === "" || INVISIBLE.test(normalised))
    throw fieldInvalid("user_name", "format", { must: "must have no blanks at its ends and no invisible characters" });
  if (Buffer.byteLength(normalised) > MAX_LENGTH)
    throw fieldInvalid("user_name", "max_length", { must: `must have at most ${MAX_LENGTH} bytes` });
  return normalised;
}
