import { expect, test } from "vitest";
import { TerminationReceiptSchema } from "../../gen/omi/agent/v1/agent_pb.ts";
import { EventSchema } from "../../gen/omi/event/v1/event_pb.ts";
import { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { Audience } from "../../gen/omi/options/v1/options_pb.ts";
import { AppSchema } from "../../gen/omi/registry/v1/app_pb.ts";
import { KeyPossessionSchema } from "../../gen/omi/registry/v1/service_pb.ts";
import { ParameterSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { headerKindOf } from "../../src/statement/header.ts";
import { audienceOf, nestedMaxAgeOf, signersOf } from "../../src/statement/signable.ts";
import { FieldType, messageWith } from "./descriptor.ts";

test("the contract says who signs what for whom", () => {
  expect(signersOf(KeyPossessionSchema)).toEqual([KeyRole.AUTH, KeyRole.SERVICE]);
  expect(audienceOf(KeyPossessionSchema)).toBe(Audience.REGISTRY);
  expect(nestedMaxAgeOf(KeyPossessionSchema)).toBe(300);
  expect(nestedMaxAgeOf(TerminationReceiptSchema)).toBe(Number.POSITIVE_INFINITY);
  expect(audienceOf(EventSchema)).toBe(Audience.NONE);
});

test("nobody signs what the contract names no signer for", () => {
  expect(() => signersOf(ParameterSchema)).toThrow(TypeError);
  expect(() => audienceOf(AppSchema)).toThrow(TypeError);
});

test("a header is in field 1, and of one of two kinds", () => {
  const { MESSAGE, STRING } = FieldType;
  expect(headerKindOf(KeyPossessionSchema)).toBe("request");
  expect(headerKindOf(EventSchema)).toBe("answer");
  expect(headerKindOf(ParameterSchema)).toBeUndefined();
  expect(headerKindOf(messageWith({ header: { type: STRING } }))).toBeUndefined();
  expect(
    headerKindOf(messageWith({ header: { type: MESSAGE, typeName: ".omi.statement.v1.Parameter" } })),
  ).toBeUndefined();
  const header = { type: MESSAGE, typeName: ".omi.statement.v1.Header" };
  expect(headerKindOf(messageWith({ first: { type: STRING }, header }))).toBeUndefined();
  expect(headerKindOf(messageWith({ header }))).toBe("request");
});
