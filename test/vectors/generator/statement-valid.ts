import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  ProvisionServiceSchema,
  RotateServiceKeySchema,
  ServiceProvisionedSchema,
  TerminateSchema,
  TerminationReceiptSchema,
} from "../../../gen/omi/agent/v1/agent_pb.ts";
import { AuthProvisionedSchema, ProvisionAuthSchema } from "../../../gen/omi/auth/v1/auth_pb.ts";
import { EventSchema, type EventType, HeadsSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import { KeyAlgorithm } from "../../../gen/omi/key/v1/key_pb.ts";
import {
  AppManifestSchema,
  AuthAnnouncementSchema,
  BackboneUpdateSchema,
} from "../../../gen/omi/registry/v1/app_pb.ts";
import { NamespaceClaimSchema } from "../../../gen/omi/registry/v1/namespace_pb.ts";
import { RegistryKeysSchema } from "../../../gen/omi/registry/v1/registry_pb.ts";
import {
  EndorsementSchema,
  KeyPossessionSchema,
  RotationSchema,
  ServiceBindingSchema,
  SuspendSchema,
  UnbindSchema,
} from "../../../gen/omi/registry/v1/service_pb.ts";
import { concatBytes, fromHex, utf8 } from "../../../src/core/bytes.ts";
import { type SigningKey, sha256 } from "../../../src/statement/crypto.ts";
import { signData, signStatement, statementId } from "../../../src/statement/statement.ts";
import { jsonOf } from "./canonical.ts";
import { ROOM, statementMembers } from "./statement.ts";
import * as story from "./story.ts";
import { type JsonObject, type VectorFile, valid } from "./vector.ts";

/** Statements of every kind that a party accepts. */
export function validStatementVectors(): VectorFile[] {
  const { master, provider, registry, service, backbone, rotation, unbinding, event } = story;
  return [
    accepted("namespace_claim", "signed by the key in it", NamespaceClaimSchema, story.claim, master),
    accepted("app_manifest", "line feed, tab, text beyond ASCII", AppManifestSchema, story.manifest, master),
    accepted("backbone_update", "a list of messages with enums", BackboneUpdateSchema, backbone, master),
    accepted(
      "backbone_update_cleared",
      "an empty list",
      BackboneUpdateSchema,
      { ...backbone, operationalServices: [] },
      master,
    ),
    accepted("provision_auth", "nothing but the app", ProvisionAuthSchema, story.authOrder, master),
    accepted("auth_provisioned", "an answer to a Statement", AuthProvisionedSchema, story.authAnswer, provider),
    accepted(
      "auth_announcement",
      "a provider's answer inside, which holds two Statements itself",
      AuthAnnouncementSchema,
      story.announcement,
      master,
    ),
    accepted("provision_service", "a sorted parameter list", ProvisionServiceSchema, story.order, master),
    accepted("key_possession", "a first key: no previous one", KeyPossessionSchema, story.possession, service),
    accepted("endorsement", "names another Statement by its ID", EndorsementSchema, story.endorsement, provider),
    accepted("service_binding", "three Statements inside", ServiceBindingSchema, story.binding, service),
    accepted(
      "service_provisioned",
      "an answer to a Statement",
      ServiceProvisionedSchema,
      serviceProvisioned(),
      provider,
    ),
    accepted("rotation", "a grace period of 600 seconds", RotationSchema, rotation, service),
    accepted(
      "rotation_immediate",
      "a bool that is true, and no grace period",
      RotationSchema,
      { ...rotation, gracePeriodSeconds: 0, immediate: true },
      service,
    ),
    accepted("rotate_service_key", "an order to rotate", RotateServiceKeySchema, story.rotationOrder, master),
    accepted("suspend", "a suspension", SuspendSchema, story.suspension, master),
    accepted("terminate", "a required enum", TerminateSchema, story.termination, master),
    accepted("termination_receipt", "a receipt", TerminationReceiptSchema, story.receipt, service),
    accepted("unbind", "a receipt inside", UnbindSchema, unbinding, master),
    accepted(
      "unbind_without_receipt",
      "an optional Statement that is absent",
      UnbindSchema,
      { ...unbinding, providerReceipt: undefined },
      master,
    ),
    accepted("registry_keys", "two keys of a registry", RegistryKeysSchema, registryKeys(), registry),
    accepted("event", "an event", EventSchema, event, registry),
    accepted(
      "event_of_unknown_type",
      "an event type that this version does not know",
      EventSchema,
      { ...event, event: 9999 as EventType },
      registry,
    ),
    accepted("heads", "the heads of two apps, one beyond 2^53", HeadsSchema, heads(), registry),
    consumed("event_with_unknown_field", "field 500, which a later version may add; consumers ignore it", "a01f01"),
    consumed("event_not_canonical", "a zero is written out; the signature holds for the bytes as they are", "4800"),
  ];
}

function serviceProvisioned(): MessageInitShape<typeof ServiceProvisionedSchema> {
  return {
    header: { issuedAt: story.NOW + 5n, inReplyTo: statementId(story.signedOrder) },
    appId: story.APP_ID,
    serviceId: "articles",
    serviceType: "cms-article",
    publicKey: story.service.publicKey,
    endpointUrl: "https://eu.articles.test",
  };
}

function registryKeys(): MessageInitShape<typeof RegistryKeysSchema> {
  const algorithm = KeyAlgorithm.ED25519;
  return {
    header: { issuedAt: story.NOW },
    domain: story.REGISTRY,
    version: 2n,
    keys: [
      { publicKey: story.registry.publicKey, algorithm, notAfter: story.NOW + 86_400n },
      { publicKey: story.nextRegistry.publicKey, algorithm, notBefore: story.NOW },
    ],
  };
}

function heads(): MessageInitShape<typeof HeadsSchema> {
  return {
    header: { issuedAt: story.NOW, expiresAt: story.NOW + 10n },
    origin: story.REGISTRY,
    logIndex: 1_000_000n,
    logHash: sha256(utf8("log")),
    apps: [
      { appId: story.APP_ID, sequence: 7n },
      { appId: "test.registry.alice.other_app.000000", sequence: 2n ** 53n + 1n },
    ],
  };
}

function accepted<Desc extends DescMessage>(
  name: string,
  description: string,
  schema: Desc,
  message: MessageInitShape<Desc>,
  key: SigningKey,
): VectorFile {
  const members = statementMembers(signStatement(schema, message, key), key);
  return valid(ROOM, name, { description, message: signedJson(schema, message, key), ...members });
}

/** An event whose encoding ends in more than the event. */
function consumed(name: string, description: string, extraHex: string): VectorFile {
  const { event, registry } = story;
  const header = { ...event.header, signer: registry.keyId };
  const data = toBinary(EventSchema, create(EventSchema, { ...event, header }));
  const statement = signData(EventSchema.typeName, concatBytes(data, fromHex(extraHex) ?? new Uint8Array()), registry);
  const message = signedJson(EventSchema, event, registry);
  return valid(ROOM, name, { description, message, ...statementMembers(statement, registry) });
}

/** The message as proto3 JSON, with the signer that signing fills in. */
function signedJson<Desc extends DescMessage>(schema: Desc, message: MessageInitShape<Desc>, key: SigningKey) {
  const json = jsonOf(schema, create(schema, message));
  return { ...json, header: { ...(json.header as JsonObject), signer: key.keyId } };
}
