import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { DataHandling, ProvisionServiceSchema, TerminateSchema } from "../../../gen/omi/agent/v1/agent_pb.ts";
import { AppManifestSchema, BackboneUpdateSchema, OperationalRole } from "../../../gen/omi/registry/v1/app_pb.ts";
import { NamespaceClaimSchema } from "../../../gen/omi/registry/v1/namespace_pb.ts";
import { RotationSchema, SuspendSchema } from "../../../gen/omi/registry/v1/service_pb.ts";
import type { FieldRule } from "../../../src/core/field-invalid.ts";
import { signData, signStatement } from "../../../src/statement/statement.ts";
import { refused } from "./statement.ts";
import * as story from "./story.ts";
import type { VectorFile } from "./vector.ts";

const { master, backbone, claim, manifest, order, rotation, suspension, termination } = story;

/** Statements with one field out of its bounds; the signature is right. */
export function outOfBoundsVectors(): VectorFile[] {
  return [...headers(), ...names(), ...enumsAndNumbers(), ...lists(), ...urls(), ...texts(), ...keys()];
}

/** A vector's name, description, field and broken rule, and the member that breaks it. */
type Case<Desc extends DescMessage> = [
  name: string,
  description: string,
  field: string,
  rule: FieldRule,
  change: Partial<Exclude<MessageInitShape<Desc>, { $typeName: string }>>,
];

function headers(): VectorFile[] {
  const header = (members: MessageInitShape<typeof SuspendSchema>["header"]) => ({
    header: { ...suspension.header, ...members },
  });
  const cases: Case<typeof SuspendSchema>[] = [
    ["audience_missing", "for nobody", "header.audience", "required", header({ audience: "" })],
    ["audience_upper_case", "in upper case", "header.audience", "format", header({ audience: "Registry.test" })],
    [
      "audience_with_port",
      "a domain with a port",
      "header.audience",
      "format",
      header({ audience: "registry.test:443" }),
    ],
    ["audience_one_label", "a host name only", "header.audience", "format", header({ audience: "localhost" })],
    ["audience_ip_address", "an IP address", "header.audience", "format", header({ audience: "127.0.0.1" })],
    ["timestamp_missing", "signed at no time", "header.timestamp", "required", header({ timestamp: 0n })],
    ["timestamp_negative", "signed before 1970", "header.timestamp", "min", header({ timestamp: -1n })],
    ["timestamp_after_9999", "signed after 9999", "header.timestamp", "max", header({ timestamp: 253_402_300_800n })],
    ["nonce_missing", "no nonce", "header.nonce", "required", header({ nonce: new Uint8Array() })],
    ["nonce_of_15_bytes", "a short nonce", "header.nonce", "min_length", header({ nonce: new Uint8Array(15) })],
    ["nonce_of_17_bytes", "a long nonce", "header.nonce", "max_length", header({ nonce: new Uint8Array(17) })],
  ];
  // Without a header there is no signer to fill in.
  const { header: _, ...headless } = suspension;
  const data = toBinary(SuspendSchema, create(SuspendSchema, headless));
  const expected = { step: "open", reason: "FIELD_INVALID", field: "header", rule: "required" } as const;
  const statement = signData(SuspendSchema.typeName, data, master);
  return [
    refused("header_missing", "no header", expected, SuspendSchema.typeName, statement, master),
    ...outOfBounds(SuspendSchema, suspension, cases),
  ];
}

function names(): VectorFile[] {
  return [
    ...outOfBounds(SuspendSchema, suspension, [
      ["app_id_missing", "an empty required text", "app_id", "required", { appId: "" }],
      [
        "app_id_in_domain_order",
        "an AppID written from left to right",
        "app_id",
        "format",
        { appId: "7f8a9d.business_app.alice.registry.test" },
      ],
      ["service_id_upper_case", "a name in upper case", "service_id", "format", { serviceId: "Articles" }],
      ["service_id_too_long", "a name of 64 characters", "service_id", "max_length", { serviceId: "a".repeat(64) }],
    ]),
    ...outOfBounds(TerminateSchema, termination, [
      ["context_of_another", "another message's constant", "context", "constant", { context: "decommission" }],
    ]),
  ];
}

function enumsAndNumbers(): VectorFile[] {
  return [
    ...outOfBounds(TerminateSchema, termination, [
      ["enum_unspecified", "zero", "data_handling", "required", { dataHandling: DataHandling.UNSPECIFIED }],
      ["enum_unknown", "not in the contract", "data_handling", "enum", { dataHandling: 99 as DataHandling }],
      ["enum_negative", "a negative enum", "data_handling", "enum", { dataHandling: -1 as DataHandling }],
    ]),
    ...outOfBounds(RotationSchema, rotation, [
      ["number_too_great", "over a year", "grace_period_seconds", "max", { gracePeriodSeconds: 31_536_001 }],
    ]),
  ];
}

function lists(): VectorFile[] {
  const parameters = (...list: string[]) => ({ parameters: list.map((name) => ({ name, value: "x" })) });
  const operationalServices = Array.from({ length: 33 }, (_, i) => ({
    role: OperationalRole.METRICS,
    name: `metrics${i}`,
    url: "https://metrics.test",
  }));
  return [
    ...outOfBounds(BackboneUpdateSchema, backbone, [
      ["list_too_long", "33 items, 32 are allowed", "operational_services", "max_items", { operationalServices }],
    ]),
    ...outOfBounds(ProvisionServiceSchema, order, [
      ["parameters_unsorted", "not sorted by name", "parameters[1].name", "sorted", parameters("language", "drafts")],
      ["parameters_doubled", "one name twice", "parameters[1].name", "sorted", parameters("drafts", "drafts")],
    ]),
  ];
}

function urls(): VectorFile[] {
  const url = (text: string) => ({
    operationalServices: [...backbone.operationalServices, { role: OperationalRole.METRICS, name: "main", url: text }],
  });
  const cases: [name: string, description: string, url: string][] = [
    ["url_plain_http", "plain http", "http://metrics.test"],
    ["url_with_user", "a user name in a URL", "https://user@metrics.test"],
    ["url_with_query", "a query in a URL", "https://metrics.test/?a=b"],
    ["url_with_empty_fragment", "an empty fragment in a URL", "https://metrics.test/#"],
    ["url_of_ip_address", "an IP address in a URL", "https://10.0.0.1"],
    ["url_of_ip_number", "an IP address written as a number", "https://167772161"],
    ["url_with_default_port", "a URL that is not in its shortest form", "https://metrics.test:443"],
    ["url_with_dot_segment", "a URL that leads through a parent folder", "https://metrics.test/a/../b"],
  ];
  const field = "operational_services[2].url";
  return outOfBounds(
    BackboneUpdateSchema,
    backbone,
    cases.map(([name, description, text]) => [name, description, field, "format", url(text)]),
  );
}

function texts(): VectorFile[] {
  return [
    ...outOfBounds(AppManifestSchema, manifest, [
      ["text_with_escape", "a control character", "display_name", "format", { displayName: "Business\u001b[31mApp" }],
      ["text_with_c1_control", "a control character", "display_name", "format", { displayName: "Business\u009bApp" }],
      ["text_with_carriage_return", "no line feed alone", "description", "format", { description: "line\r\nline" }],
      [
        "text_of_129_bytes",
        "65 characters, but 129 bytes",
        "display_name",
        "max_length",
        { displayName: `${"ö".repeat(64)}o` },
      ],
    ]),
    ...outOfBounds(NamespaceClaimSchema, claim, [
      [
        "digest_of_20_bytes",
        "a digest that is too short",
        "contact_commitment",
        "min_length",
        { contactCommitment: new Uint8Array(20) },
      ],
    ]),
    ...outOfBounds(RotationSchema, rotation, [
      ["nested_missing", "a required Statement is absent", "key_possession", "required", { keyPossession: undefined }],
    ]),
  ];
}

function keys(): VectorFile[] {
  const neutral = new Uint8Array(32).fill(1, 0, 1);
  const notOnCurve = new Uint8Array(32).fill(2, 0, 1);
  const guardianPublicKeys = [story.guardian.publicKey, notOnCurve];
  return [
    badKey("key_neutral", "the neutral element", "new_public_key", RotationSchema, {
      ...rotation,
      newPublicKey: neutral,
    }),
    badKey("key_of_31_bytes", "a short key", "new_public_key", RotationSchema, {
      ...rotation,
      newPublicKey: neutral.slice(1),
    }),
    badKey("key_in_list_not_on_curve", "the second key is no point", "guardian_public_keys[1]", NamespaceClaimSchema, {
      ...claim,
      guardianPublicKeys,
    }),
  ];
}

function outOfBounds<Desc extends DescMessage>(
  schema: Desc,
  message: MessageInitShape<Desc>,
  cases: readonly Case<Desc>[],
): VectorFile[] {
  return cases.map(([name, description, field, rule, change]) => {
    const expected = { step: "open", reason: "FIELD_INVALID", field, rule } as const;
    const statement = signStatement(schema, { ...message, ...change }, master);
    return refused(name, description, expected, schema.typeName, statement, master);
  });
}

function badKey<Desc extends DescMessage>(
  name: string,
  description: string,
  field: string,
  schema: Desc,
  message: MessageInitShape<Desc>,
): VectorFile {
  const expected = { step: "open", reason: "KEY_INVALID", field } as const;
  return refused(name, description, expected, schema.typeName, signStatement(schema, message, master), master);
}
