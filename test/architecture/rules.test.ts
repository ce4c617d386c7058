import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Reason, ReasonSchema } from "../../gen/omi/error/v1/reason_pb.ts";
import { FIELD_RULES } from "../../src/core/field-invalid.ts";
import { TOKEN_RULES } from "../../src/token/token-invalid.ts";
import { commentOfValue, documentedRules } from "./proto-text.ts";

const source = fileURLToPath(new URL("../../src", import.meta.url));

test.each([
  [Reason.FIELD_INVALID, Object.keys(FIELD_RULES)],
  [Reason.TOKEN_INVALID, TOKEN_RULES],
])("the rules that Reason %i names are those that its comment lists", (reason, rules) => {
  const value = ReasonSchema.value[reason];
  expect(value && documentedRules(commentOfValue(value))).toEqual(rules);
});

// There the rule has a closed type, and nowhere else is it made.
test("FIELD_INVALID and TOKEN_INVALID are made in one place each", () => {
  const makers = globSync("**/*.ts", { cwd: source }).filter((path) =>
    /new Refusal\(\s*Reason\.(FIELD|TOKEN)_INVALID/.test(readFileSync(join(source, path), "utf8")),
  );
  expect(makers.sort()).toEqual(["core/field-invalid.ts", "token/token-invalid.ts"]);
});
