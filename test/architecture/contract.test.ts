import {
  type DescField,
  type DescMessage,
  type DescMethod,
  getOption,
  hasOption,
  ScalarType,
} from "@bufbuild/protobuf";
import { Edition } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { type Reason, ReasonSchema } from "../../gen/omi/error/v1/reason_pb.ts";
import { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { Access, Audience, bounds, carries, Format, rule, signable } from "../../gen/omi/options/v1/options_pb.ts";
import { LogEntryInputSchema } from "../../gen/omi/registry/v1/log_pb.ts";
import {
  AnswerHeaderSchema,
  HeaderSchema,
  SigningInputSchema,
  StatementSchema,
} from "../../gen/omi/statement/v1/statement_pb.ts";
import { reasonName } from "../../src/core/refusal.ts";
import { codeOf } from "../../src/rpc/call/codes.ts";
import { contract } from "../statement/contract.ts";
import { commentOfMethod, commentOfValue, documentedMetadata, reasonsIn } from "./proto-text.ts";

const messages = [...contract].filter((type) => type.kind === "message");
const methods = [...contract].filter((type) => type.kind === "service").flatMap((service) => service.methods);
const signables = messages.filter((message) => hasOption(message, signable));
const signableRequests = signables.filter((message) => getOption(message, signable).audience !== Audience.NONE);

/** A name without the package's first and last part: `registry.Rotation`. */
function shortName({ typeName }: { typeName: string }): string {
  return typeName.replace(/^omi\./, "").replace(/\.v1\./, ".");
}

/** The statement fields of a message, with the short name of what they carry. */
function nestedIn(message: DescMessage): string[] {
  return statementFields(message).map((field) => `${field.name}: ${getOption(field, carries).replace(/^.*\./, "")}`);
}

function statementFields(message: DescMessage): DescField[] {
  return message.fields.filter((field) => field.message?.typeName === StatementSchema.typeName);
}

/** A message and all messages in its fields, at every depth; what statements carry only if `throughStatements`. */
function reachable(roots: readonly DescMessage[], throughStatements = false): DescMessage[] {
  const found = new Set<DescMessage>();
  const visit = (message: DescMessage) => {
    if (found.has(message)) return;
    found.add(message);
    for (const field of message.fields) {
      if (field.message !== undefined) visit(field.message);
      const carried = throughStatements ? contract.getMessage(getOption(field, carries)) : undefined;
      if (carried !== undefined) visit(carried);
    }
  };
  for (const root of roots) visit(root);
  return [...found];
}

// Who signs what, for whom, and what is nested in it.
const { MASTER, REGISTRY, PROVIDER, AUTH, SERVICE } = KeyRole;
const signedMessages: Record<string, [signers: KeyRole[], audience: Audience, ...nested: string[]]> = {
  "agent.ProvisionService": [[MASTER], Audience.PROVIDER],
  "agent.RotateServiceKey": [[MASTER], Audience.PROVIDER],
  "agent.ServiceKeyRotated": [[PROVIDER], Audience.NONE],
  "agent.ServiceProvisioned": [[PROVIDER], Audience.NONE],
  "agent.Terminate": [[MASTER], Audience.PROVIDER],
  "agent.TerminationReceipt": [[SERVICE], Audience.REGISTRY],
  "auth.AuthProvisioned": [
    [PROVIDER],
    Audience.NONE,
    "auth_key_possession: KeyPossession",
    "service_key_possession: KeyPossession",
  ],
  "auth.ProvisionAuth": [[MASTER], Audience.PROVIDER],
  "auth.ServiceTokenRequest": [[SERVICE], Audience.PROVIDER],
  "auth.SessionHeads": [[SERVICE], Audience.NONE],
  "auth.SessionRevoked": [[SERVICE], Audience.NONE],
  "billing.Bill": [[PROVIDER], Audience.NONE],
  "billing.BillRequest": [[MASTER], Audience.PROVIDER],
  "event.Event": [[REGISTRY], Audience.NONE],
  "event.Heads": [[REGISTRY], Audience.NONE],
  "registry.ActivationCodeRequest": [[MASTER], Audience.REGISTRY],
  "registry.AppAnswer": [[REGISTRY], Audience.NONE],
  "registry.AppManifest": [[MASTER], Audience.REGISTRY],
  "registry.AuthAnnouncement": [[MASTER], Audience.REGISTRY, "provider_answer: AuthProvisioned"],
  "registry.BackboneUpdate": [[MASTER], Audience.REGISTRY],
  "registry.BindingAnswer": [[REGISTRY], Audience.NONE],
  "registry.Endorsement": [[PROVIDER], Audience.REGISTRY],
  "registry.KeyPossession": [[AUTH, SERVICE], Audience.REGISTRY],
  "registry.NamespaceActivation": [[REGISTRY], Audience.NONE],
  "registry.NamespaceAnswer": [[REGISTRY], Audience.NONE],
  "registry.NamespaceClaim": [[MASTER], Audience.REGISTRY],
  "registry.RegistryAnswer": [[REGISTRY], Audience.NONE, "registry_keys: RegistryKeys"],
  "registry.RegistryKeyList": [[REGISTRY], Audience.NONE, "key_sets: RegistryKeys"],
  "registry.RegistryKeys": [[REGISTRY], Audience.NONE],
  "registry.Rotation": [[SERVICE], Audience.REGISTRY, "key_possession: KeyPossession"],
  "registry.ServiceAnswer": [[REGISTRY], Audience.NONE],
  "registry.ServiceBinding": [
    [SERVICE],
    Audience.REGISTRY,
    "developer_proof: ProvisionService",
    "endorsement: Endorsement",
    "key_possession: KeyPossession",
  ],
  "registry.ServiceListAnswer": [[REGISTRY], Audience.NONE],
  "registry.Suspend": [[MASTER], Audience.REGISTRY],
  "registry.Unbind": [[MASTER], Audience.REGISTRY, "provider_receipt: TerminationReceipt"],
};

test("the table of who signs what for whom", () => {
  const found = signables.map((message) => {
    const { signers, audience } = getOption(message, signable);
    return [shortName(message), [signers, audience, ...nestedIn(message)]] as const;
  });
  expect(Object.fromEntries(found)).toEqual(signedMessages);
});

describe("messages that are signed", () => {
  test.for(signables.map((message) => [shortName(message), message] as const))(
    "%s has its header first",
    ([, message]) => {
      const { audience } = getOption(message, signable);
      const expected = audience === Audience.NONE ? AnswerHeaderSchema : HeaderSchema;
      const header = message.fields.find(({ number }) => number === 1);
      expect(header?.name).toBe("header");
      expect(header?.message?.typeName).toBe(expected.typeName);
      expect(header?.fieldKind).toBe("message");
    },
  );

  test("everything with such a header says who signs it", () => {
    const headers: string[] = [HeaderSchema.typeName, AnswerHeaderSchema.typeName];
    const headed = messages.filter(({ fields }) =>
      fields.some(({ message }) => message && headers.includes(message.typeName)),
    );
    expect(headed.map(shortName).sort()).toEqual(signables.map(shortName).sort());
  });

  test("at most three statements are inside of one another", () => {
    const depth = (message: DescMessage): number =>
      1 +
      Math.max(
        0,
        ...statementFields(message).map((field) => {
          const carried = contract.getMessage(getOption(field, carries));
          return carried === undefined ? 1 : depth(carried);
        }),
      );
    for (const message of signables) expect(depth(message), shortName(message)).toBeLessThanOrEqual(3);
  });
});

/** What keeps a field out of the profile in which all protobuf libraries write the same bytes. */
function breaksProfile(field: DescField): string | undefined {
  if (field.fieldKind === "map") return "a map has no order";
  if (field.oneof !== undefined) return "a oneof, or an optional scalar: Go writes it last, and its zero is written";
  if (field.scalar === ScalarType.FLOAT || field.scalar === ScalarType.DOUBLE) return "a float has several NaNs";
  if (field.message?.typeName.startsWith("google.protobuf.")) return "a foreign type, Any among them";
  if (field.fieldKind === "message" && field.delimitedEncoding) return "a group";
  if (
    field.fieldKind === "list" &&
    field.listKind !== "message" &&
    field.scalar !== ScalarType.STRING &&
    field.scalar !== ScalarType.BYTES &&
    !field.packed
  )
    return "numbers that are not packed";
  return undefined;
}

test("whatever is signed or hashed has one encoding", () => {
  const effects = messages.filter((message) =>
    /^omi\.registry\.v1\.[A-Z][A-Za-z]*(ed|Published)$/.test(message.typeName),
  );
  const all = reachable([...signables, ...effects, SigningInputSchema, LogEntryInputSchema], true);
  const breaches = all.flatMap((message) => {
    const problems = message.fields.flatMap((field) => breaksProfile(field) ?? []);
    if (message.file.edition !== Edition.EDITION_PROTO3) problems.push("not proto3");
    if (message.nestedExtensions.length > 0) problems.push("extensions");
    return problems.map((problem) => `${shortName(message)}: ${problem}`);
  });
  expect(breaches).toEqual([]);
});

test("each statement field says what it carries, and nothing else does", () => {
  const names = new Set(signables.map(({ typeName }) => typeName));
  for (const field of messages.flatMap((message) => message.fields)) {
    const isStatement = field.message?.typeName === StatementSchema.typeName;
    expect(hasOption(field, carries), `${field}`).toBe(isStatement);
    if (!isStatement) continue;
    const carried = getOption(field, carries);
    expect(carried === "*" || names.has(carried), `${field} carries ${carried}`).toBe(true);
  }
});

describe.each(methods.map((method) => [`${method.parent.name}.${method.name}`, method] as const))("%s", (_, method) => {
  test("says who may call it", () => {
    expect(hasOption(method, rule)).toBe(true);
    expect(getOption(method, rule).access).not.toBe(Access.UNSPECIFIED);
  });

  test("takes a statement exactly if its access rule says so", () => {
    const statements = statementFields(method.input);
    const expected = getOption(method, rule).access === Access.STATEMENT ? ["statement"] : [];
    expect(statements.map((field) => field.name)).toEqual(expected);
    for (const field of statements) {
      expect(field.fieldKind).toBe("message");
      expect(getOption(field, bounds).required).toBe(true);
      expect(signableRequests.map(({ typeName }) => typeName)).toContain(getOption(field, carries));
    }
  });

  test("has side effects unless it only reads", () => {
    expect(method.idempotency === NO_SIDE_EFFECTS).toBe(isRead(method));
  });

  test("names in its comment every Reason that it adds", () => {
    const told = reasonsIn(commentWithReferences(method)).map(reasonName);
    const { failsWith } = getOption(method, rule);
    expect(new Set(failsWith).size).toBe(failsWith.length);
    for (const reason of failsWith) expect(told).toContain(reasonName(reason));
  });
});

/** As in google.protobuf.MethodOptions.IdempotencyLevel. */
const NO_SIDE_EFFECTS = 1;

/** True for an RPC that reads without being asked by a statement, whose nonce would be spent. */
function isRead({ name, ...method }: DescMethod): boolean {
  return (
    /^(Resolve|List|Get|Read|Watch)/.test(name) && getOption(method as DescMethod, rule).access !== Access.STATEMENT
  );
}

/** The comment of an RPC; `Fails as X does, with A instead of B` stands for what X says. */
function commentWithReferences(method: DescMethod): string {
  const own = commentOfMethod(method);
  const reference = /Fails as (\w+) does, with ([A-Z_]+) instead of ([A-Z_]+)/.exec(own);
  if (reference === null) return own;
  const [, name, instead, of] = reference;
  const other = method.parent.methods.find((other) => other.name === name);
  if (other === undefined) return expect.fail(`${method.name} refers to ${name}, which is not in its service`);
  return `${own} ${commentOfMethod(other).replace(of ?? "", instead ?? "")}`;
}

// Fields of requests that may have any value.
const boundless: Record<string, string> = {
  "agent.ProvisionService.storage_limit_gb": "any size; the provider says what it offers",
  "agent.RotateServiceKey.immediate": "a bool",
  "auth.ServiceTokenRequest.target_role": "an enum, whose numbers are checked; none is the default",
  "auth.WatchSessionsRequest.after_sequence": "a cursor, checked against the head",
  "event.AppCursor.sequence": "a cursor, checked against the head",
  "event.GetHeadsRequest.known_log_index": "compared with the log's head",
  "event.ListEventsRequest.after_sequence": "a cursor, checked against the head",
  "event.WatchRequest.after_log_index": "a cursor, checked against the head",
  "registry.AuthAnnouncement.expected_config_epoch": "compared with the app's epoch",
  "registry.BackboneUpdate.expected_config_epoch": "compared with the app's epoch",
  "registry.NamespaceClaim.metadata": "a message whose fields have bounds; may be absent",
  "registry.ListRegistryKeysRequest.after_version": "0 means from the first one on",
  "registry.ReadLogRequest.start_index": "a cursor, checked against the head",
  "registry.Rotation.immediate": "a bool",
  "registry.Unbind.provider_receipt": "a statement, bounded as such; may be absent",
};

describe("the fields of requests", () => {
  const fields = reachable([...methods.map((method) => method.input), ...signableRequests]).flatMap(
    (message) => message.fields,
  );
  const bounded = fields.filter((field) => hasOption(field, bounds));

  test("have bounds, but for those that may have any value", () => {
    const without = fields.filter((field) => !hasOption(field, bounds));
    expect(without.map((field) => `${shortName(field.parent)}.${field.name}`).sort()).toEqual(
      Object.keys(boundless).sort(),
    );
  });

  test.for(bounded.map((field) => [`${shortName(field.parent)}.${field.name}`, field] as const))(
    "%s cannot be arbitrarily large",
    ([, field]) => {
      const { maxLength, maxItems, max, min, minLength, format } = getOption(field, bounds);
      const isText = field.scalar === ScalarType.STRING || field.scalar === ScalarType.BYTES;
      if (isText) expect(maxLength).toBeGreaterThan(0);
      if (field.fieldKind === "list") expect(maxItems).toBeGreaterThan(0);
      if (field.scalar !== undefined && !isText && field.scalar !== ScalarType.BOOL) expect(max).toBeGreaterThan(min);
      expect(minLength).toBeLessThanOrEqual(maxLength);
      const [least, greatest] = lengths[format] ?? [minLength, maxLength];
      expect([minLength, maxLength]).toEqual([least, greatest]);
    },
  );
});

/** The lengths that a format means. */
const lengths: Partial<Record<Format, [least: number, greatest: number]>> = {
  [Format.DOMAIN]: [0, 253],
  [Format.APP_ID]: [0, 360],
  [Format.NAMESPACE]: [2, 32],
  [Format.NAME]: [2, 63],
  [Format.URL]: [0, 2048],
  [Format.PUBLIC_KEY]: [32, 32],
  [Format.KEY_ID]: [43, 43],
  [Format.NONCE]: [16, 16],
  [Format.SHA256]: [32, 32],
  [Format.EMAIL]: [0, 254],
};

describe.each(
  ReasonSchema.values.filter(({ number }) => number !== 0).map((value) => [value.localName, value] as const),
)("%s", (_, value) => {
  test("has a gRPC code in brackets, which is the one that callers get", () => {
    const [, code] = /^\[([A-Z_]+)\] /.exec(commentOfValue(value)) ?? [];
    expect(code).toBe(Code[codeOf(value.number as Reason)]?.replace(/(?<=.)[A-Z]/g, "_$&").toUpperCase());
  });

  test("names its metadata in a form that can be read", () => {
    const documented = documentedMetadata(value.number as Reason);
    if (commentOfValue(value).includes("Metadata")) expect(documented).not.toEqual([]);
  });
});
