import { expect, test } from "vitest";
import { isEmail } from "../../src/core/email.ts";

test.each([
  "alice@example.test",
  "a+b@example.test",
  "first.last@sub.example.test",
  "Alice@Example.Test",
  "!#$%&'*@a.bc",
])("%j is an e-mail address", (text) => {
  expect(isEmail(text)).toBe(true);
});

test.each([
  "",
  "alice",
  "@example.test",
  "alice@",
  "alice@example",
  "alice@example.test.",
  "alice@@example.test",
  "a@b@example.test",
  " alice@example.test",
  "alice@example.test\n",
  "alice smith@example.test",
  '"alice"@example.test',
  "Alice <alice@example.test>",
  "alice@[127.0.0.1]",
  "alice@127.0.0.1",
  "älice@example.test",
  "alice@exämple.test",
  "alice@example.test, bob@example.test",
  `${"a".repeat(65)}@example.test`,
  `a@${"a.".repeat(125)}abc`,
])("%j is none", (text) => {
  expect(isEmail(text)).toBe(false);
});
