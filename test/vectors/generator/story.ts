/**
 * The messages of one small story, which the statement vectors sign as they are or with one thing wrong: Alice's app, its
 * Auth Provider, and an article service that is bound, rotated and ended.
 */
import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import {
  DataHandling,
  ProvisionServiceSchema,
  type RotateServiceKeySchema,
  TerminateSchema,
  TerminationReceiptSchema,
  TerminationStatus,
} from "../../../gen/omi/agent/v1/agent_pb.ts";
import { AuthProvisionedSchema, ProvisionAuthSchema } from "../../../gen/omi/auth/v1/auth_pb.ts";
import { EventReason, type EventSchema, EventType } from "../../../gen/omi/event/v1/event_pb.ts";
import { KeyAlgorithm, KeyRole } from "../../../gen/omi/key/v1/key_pb.ts";
import {
  type AppManifestSchema,
  type AuthAnnouncementSchema,
  type BackboneUpdateSchema,
  OperationalRole,
} from "../../../gen/omi/registry/v1/app_pb.ts";
import type { NamespaceClaimSchema } from "../../../gen/omi/registry/v1/namespace_pb.ts";
import {
  EndorsementSchema,
  KeyPossessionSchema,
  type RotationSchema,
  type ServiceBindingSchema,
  type SuspendSchema,
  type UnbindSchema,
} from "../../../gen/omi/registry/v1/service_pb.ts";
import { utf8 } from "../../../src/core/bytes.ts";
import { sha256 } from "../../../src/statement/crypto.ts";
import { signStatement, statementId } from "../../../src/statement/statement.ts";
import { keyOf, nonceOf } from "./vector.ts";

/** What a message is made from: plain members, so that a vector can exchange one of them. */
type Init<Desc extends DescMessage> = Exclude<MessageInitShape<Desc>, { $typeName: string }>;

export const REGISTRY = "registry.test";
export const PROVIDER = "articles.test";
export const AUTH_PROVIDER = "auth.test";
export const APP_ID = "test.registry.alice.business_app.7f8a9d";
export const NOW = 1_780_000_000n;

export const master = keyOf("master");
export const guardian = keyOf("guardian");
export const registry = keyOf("registry");
export const nextRegistry = keyOf("next registry");
export const provider = keyOf("provider");
export const auth = keyOf("auth");
export const authService = keyOf("auth service");
export const service = keyOf("service");
export const nextService = keyOf("next service");

/** A request's header, but for the signer, which signing fills in. */
export function header(name: string, audience: string) {
  return { audience, timestamp: NOW, nonce: nonceOf(name) };
}

export const claim = {
  header: header("claim", REGISTRY),
  publicKey: master.publicKey,
  algorithm: KeyAlgorithm.ED25519,
  guardianPublicKeys: [guardian.publicKey],
  namespaceClaim: "alice",
  contactCommitment: sha256(utf8("salt and alice@example.test")),
  metadata: { website: "https://alice.test/about", organization: "Alice & Söhne" },
} satisfies Init<typeof NamespaceClaimSchema>;

export const manifest = {
  header: header("manifest", REGISTRY),
  ownerNamespace: "alice",
  projectSlug: "business_app",
  displayName: "Business App 🌳",
  description: "Two lines,\nand a\ttab.",
} satisfies Init<typeof AppManifestSchema>;

export const backbone = {
  header: header("backbone", REGISTRY),
  appId: APP_ID,
  operationalServices: [
    { role: OperationalRole.BILLING, name: "main", url: "https://billing.test" },
    { role: OperationalRole.LOGGING, name: "main", url: "https://logs.test:4318/v1" },
  ],
  expectedConfigEpoch: 3n,
} satisfies Init<typeof BackboneUpdateSchema>;

export const authOrder = {
  header: header("auth order", AUTH_PROVIDER),
  appId: APP_ID,
} satisfies Init<typeof ProvisionAuthSchema>;

const authPossession = {
  header: header("auth possession", REGISTRY),
  appId: APP_ID,
  serviceId: "auth",
  role: KeyRole.AUTH,
  publicKey: auth.publicKey,
  algorithm: KeyAlgorithm.ED25519,
} satisfies Init<typeof KeyPossessionSchema>;

const authServicePossession = {
  ...authPossession,
  header: header("auth service possession", REGISTRY),
  role: KeyRole.SERVICE,
  publicKey: authService.publicKey,
} satisfies Init<typeof KeyPossessionSchema>;

export const authAnswer = {
  header: { issuedAt: NOW + 2n, inReplyTo: statementId(signStatement(ProvisionAuthSchema, authOrder, master)) },
  appId: APP_ID,
  authPublicKey: auth.publicKey,
  servicePublicKey: authService.publicKey,
  authProviderUrl: "https://auth.test/apps/business_app",
  authKeyPossession: signStatement(KeyPossessionSchema, authPossession, auth),
  serviceKeyPossession: signStatement(KeyPossessionSchema, authServicePossession, authService),
} satisfies Init<typeof AuthProvisionedSchema>;

export const announcement = {
  header: header("announcement", REGISTRY),
  appId: APP_ID,
  authPublicKey: auth.publicKey,
  servicePublicKey: authService.publicKey,
  authProviderUrl: "https://auth.test/apps/business_app",
  authProvider: AUTH_PROVIDER,
  providerAnswer: signStatement(AuthProvisionedSchema, authAnswer, provider),
} satisfies Init<typeof AuthAnnouncementSchema>;

export const order = {
  header: header("order", PROVIDER),
  appId: APP_ID,
  targetProvider: PROVIDER,
  providerKeyId: provider.keyId,
  serviceType: "cms-article",
  serviceTier: "pro_cluster",
  region: "eu-central-1",
  storageLimitGb: 500,
  parameters: [
    { name: "drafts", value: "on" },
    { name: "language", value: "de" },
  ],
  expiresAt: NOW + 3600n,
} satisfies Init<typeof ProvisionServiceSchema>;

export const signedOrder = signStatement(ProvisionServiceSchema, order, master);

export const possession = {
  header: header("possession", REGISTRY),
  appId: APP_ID,
  serviceId: "articles",
  role: KeyRole.SERVICE,
  publicKey: service.publicKey,
  algorithm: KeyAlgorithm.ED25519,
} satisfies Init<typeof KeyPossessionSchema>;

export const endorsement = {
  header: header("endorsement", REGISTRY),
  appId: APP_ID,
  serviceId: "articles",
  publicKey: service.publicKey,
  endpointUrl: "https://eu.articles.test",
  proofId: statementId(signedOrder),
} satisfies Init<typeof EndorsementSchema>;

export const signedEndorsement = signStatement(EndorsementSchema, endorsement, provider);

export const binding = {
  header: header("binding", REGISTRY),
  appId: APP_ID,
  serviceId: "articles",
  serviceType: "cms-article",
  publicKey: service.publicKey,
  endpointUrl: "https://eu.articles.test",
  developerProof: signedOrder,
  endorsement: signedEndorsement,
  keyPossession: signStatement(KeyPossessionSchema, possession, service),
} satisfies Init<typeof ServiceBindingSchema>;

const nextPossession = {
  ...possession,
  header: header("next possession", REGISTRY),
  publicKey: nextService.publicKey,
  previousKeyId: service.keyId,
} satisfies Init<typeof KeyPossessionSchema>;

export const signedNextPossession = signStatement(KeyPossessionSchema, nextPossession, nextService);

export const rotation = {
  header: header("rotation", REGISTRY),
  appId: APP_ID,
  serviceId: "articles",
  newPublicKey: nextService.publicKey,
  keyPossession: signedNextPossession,
  gracePeriodSeconds: 600,
  context: "key_rotation",
} satisfies Init<typeof RotationSchema>;

export const rotationOrder = {
  header: header("rotation order", PROVIDER),
  appId: APP_ID,
  serviceId: "articles",
  immediate: true,
} satisfies Init<typeof RotateServiceKeySchema>;

export const suspension = {
  header: header("suspension", REGISTRY),
  appId: APP_ID,
  serviceId: "articles",
} satisfies Init<typeof SuspendSchema>;

export const event = {
  header: { issuedAt: NOW + 3n, appSequence: 7n },
  origin: REGISTRY,
  appId: APP_ID,
  serviceId: "articles",
  event: EventType.KEY_ROTATION,
  reason: EventReason.MASTER_RESET,
  oldPublicKey: service.publicKey,
  sequence: 7n,
  logIndex: 1_000_000n,
} satisfies Init<typeof EventSchema>;

export const termination = {
  header: header("termination", PROVIDER),
  appId: APP_ID,
  serviceId: "articles",
  context: "permanent_termination",
  dataHandling: DataHandling.WIPE,
} satisfies Init<typeof TerminateSchema>;

export const receipt = {
  header: header("receipt", REGISTRY),
  appId: APP_ID,
  serviceId: "articles",
  status: TerminationStatus.SUCCESS,
  message: "Instance purged",
  receiptId: "R-2026-000417",
  requestDigest: statementId(signStatement(TerminateSchema, termination, master)),
} satisfies Init<typeof TerminationReceiptSchema>;

export const unbinding = {
  header: header("unbinding", REGISTRY),
  appId: APP_ID,
  serviceId: "articles",
  context: "decommission",
  providerReceipt: signStatement(TerminationReceiptSchema, receipt, service),
} satisfies Init<typeof UnbindSchema>;
