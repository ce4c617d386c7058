import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import {
  type ProvisionService,
  ProvisionServiceSchema,
  TerminationReceiptSchema,
  TerminationStatus,
} from "../../gen/omi/agent/v1/agent_pb.ts";
import { AuthProvisionedSchema } from "../../gen/omi/auth/v1/auth_pb.ts";
import { KeyAlgorithm, KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import {
  AppAnswerSchema,
  AppManifestSchema,
  type AuthAnnouncement,
  AuthAnnouncementSchema,
  BackboneUpdateSchema,
  OperationalRole,
} from "../../gen/omi/registry/v1/app_pb.ts";
import { NamespaceClaimSchema } from "../../gen/omi/registry/v1/namespace_pb.ts";
import {
  EndorsementSchema,
  KeyPossessionSchema,
  type Rotation,
  RotationSchema,
  ServiceBindingSchema,
  SuspendSchema,
  UnbindSchema,
} from "../../gen/omi/registry/v1/service_pb.ts";
import type { Header, Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { concatBytes, utf8 } from "../../src/core/bytes.ts";
import { type SigningKey, sha256 } from "../../src/statement/crypto.ts";
import { openAnswer, signStatement, statementId } from "../../src/statement/statement.ts";
import type { FakeClock } from "./clock.ts";
import { testBytes, testKey, testNonce } from "./keys.ts";
import { providers, type RunningRegistry, registryDomain } from "./registry.ts";

/** The fields of a message without its header, all optional. */
export type Fields<Desc extends DescMessage> = Omit<MessageInitShape<Desc>, "header" | "$typeName" | "$unknown">;

/** A header for a message that is signed now. */
export function headerAt(clock: FakeClock, audience: string = registryDomain): Omit<Header, "$typeName" | "signer"> {
  return { audience, timestamp: BigInt(clock.seconds()), nonce: testNonce() };
}

/** An app with its keys, and what it takes to change it. */
export interface TestApp {
  appId: string;
  namespace: string;
  master: SigningKey;
}

let namespaces = 0;

/** Claims a namespace with a new Master key and registers an app in it. */
export async function registerTestApp(registry: RunningRegistry): Promise<TestApp> {
  const namespace = `dev${++namespaces}`;
  const master = testKey(`master ${namespace}`);
  await registry.registry.claimNamespace({ statement: claimOf(registry.clock, namespace, master) });
  const { answer } = await registry.registry.registerApp({
    statement: manifestOf(registry.clock, namespace, master),
  });
  const appId = openAnswer(AppAnswerSchema, present(answer)).message.app?.appId ?? "";
  return { appId, namespace, master };
}

/** A claim of a namespace. */
export function claimOf(
  clock: FakeClock,
  namespace: string,
  master: SigningKey,
  fields: Partial<Fields<typeof NamespaceClaimSchema>> = {},
): Statement {
  const message = {
    header: headerAt(clock),
    publicKey: master.publicKey,
    algorithm: KeyAlgorithm.ED25519,
    namespaceClaim: namespace,
    ...fields,
  };
  return signStatement(NamespaceClaimSchema, message, master);
}

/** A manifest of the app `shop`. */
export function manifestOf(
  clock: FakeClock,
  namespace: string,
  master: SigningKey,
  fields: Partial<Fields<typeof AppManifestSchema>> = {},
): Statement {
  const message = {
    header: headerAt(clock),
    ownerNamespace: namespace,
    projectSlug: "shop",
    displayName: "Shop",
    ...fields,
  };
  return signStatement(AppManifestSchema, message, master);
}

/** A proof of possession. */
export function possessionOf(
  clock: FakeClock,
  key: SigningKey,
  fields: Partial<Fields<typeof KeyPossessionSchema>>,
  signer = key,
): Statement {
  const message = {
    header: headerAt(clock),
    role: KeyRole.SERVICE,
    publicKey: key.publicKey,
    algorithm: KeyAlgorithm.ED25519,
    ...fields,
  };
  return signStatement(KeyPossessionSchema, message, signer);
}

/** A developer's order for a `cms-article`. */
export function orderOf(
  clock: FakeClock,
  app: TestApp,
  fields: Partial<Omit<ProvisionService, "$typeName" | "header">> = {},
  signer = app.master,
): Statement {
  const target = fields.targetProvider ?? providers.article.domain;
  // Before the header's time, which may be another second by a clock that runs.
  const expiresAt = BigInt(clock.seconds() + 3600);
  const message = {
    header: headerAt(clock, target),
    appId: app.appId,
    targetProvider: target,
    providerKeyId: providers.article.key.keyId,
    serviceType: "cms-article",
    expiresAt,
    ...fields,
  };
  return signStatement(ProvisionServiceSchema, message, signer);
}

/** What {@link bindingOf} can be made to do differently. */
export interface BindingChanges {
  serviceId?: string;
  key?: SigningKey;
  order?: Statement;
  endpointUrl?: string;
  binding?: Partial<Fields<typeof ServiceBindingSchema>>;
  endorsement?: Partial<Fields<typeof EndorsementSchema>>;
  endorser?: SigningKey;
  possession?: Partial<Fields<typeof KeyPossessionSchema>>;
  possessor?: SigningKey;
}

/** A binding of a `cms-article`, right unless `changes` make it wrong. */
export function bindingOf(clock: FakeClock, app: TestApp, changes: BindingChanges = {}): Statement {
  const serviceId = changes.serviceId ?? "cms-article-77";
  const key = changes.key ?? testKey(`service ${app.appId} ${serviceId}`);
  const order = changes.order ?? orderOf(clock, app);
  const endpointUrl = changes.endpointUrl ?? "http://i77.article.cms.test";
  const common = { appId: app.appId, serviceId, publicKey: key.publicKey };
  const endorsement = signStatement(
    EndorsementSchema,
    { header: headerAt(clock), ...common, endpointUrl, proofId: statementId(order), ...changes.endorsement },
    changes.endorser ?? providers.article.key,
  );
  const keyPossession = possessionOf(clock, key, { ...common, ...changes.possession }, changes.possessor ?? key);
  const message = {
    header: headerAt(clock),
    ...common,
    serviceType: "cms-article",
    endpointUrl,
    developerProof: order,
    endorsement,
    keyPossession,
    ...changes.binding,
  };
  return signStatement(ServiceBindingSchema, message, key);
}

/** A service that was bound, and its current key. */
export interface TestService {
  app: TestApp;
  serviceId: string;
  key: SigningKey;
}

/** Binds a service to an app. */
export async function bindTestService(
  registry: RunningRegistry,
  app: TestApp,
  serviceId = "cms-article-77",
): Promise<TestService> {
  const key = testKey(`service ${app.appId} ${serviceId}`);
  await registry.registry.bindService({ statement: bindingOf(registry.clock, app, { serviceId, key }) });
  return { app, serviceId, key };
}

/** A rotation of a service's key. */
export function rotationOf(
  clock: FakeClock,
  service: TestService,
  newKey: SigningKey,
  fields: Partial<Omit<Rotation, "$typeName" | "header">> = {},
  signer = service.key,
): Statement {
  const common = { appId: service.app.appId, serviceId: service.serviceId };
  const message = {
    header: headerAt(clock),
    ...common,
    newPublicKey: newKey.publicKey,
    keyPossession: possessionOf(clock, newKey, { ...common, previousKeyId: signer.keyId }),
    context: "key_rotation",
    ...fields,
  };
  return signStatement(RotationSchema, message, signer);
}

/** A suspension by the app's Master key. */
export function suspendOf(clock: FakeClock, service: TestService, signer = service.app.master): Statement {
  const message = { header: headerAt(clock), appId: service.app.appId, serviceId: service.serviceId };
  return signStatement(SuspendSchema, message, signer);
}

/** An unbinding by the app's Master key. */
export function unbindOf(
  clock: FakeClock,
  service: TestService,
  receipt?: Statement,
  signer = service.app.master,
): Statement {
  const message = {
    header: headerAt(clock),
    appId: service.app.appId,
    serviceId: service.serviceId,
    context: "decommission",
    ...(receipt === undefined ? {} : { providerReceipt: receipt }),
  };
  return signStatement(UnbindSchema, message, signer);
}

/** What {@link announcementOf} can be made to do differently. */
export interface AnnouncementChanges {
  authKey?: SigningKey;
  serviceKey?: SigningKey;
  answer?: Partial<Fields<typeof AuthProvisionedSchema>>;
  answerer?: SigningKey;
  announcement?: Partial<Omit<AuthAnnouncement, "$typeName" | "header">>;
  signer?: SigningKey;
}

/** An announcement of the Auth Provider `auth.test`, right unless `changes` make it wrong. */
export function announcementOf(clock: FakeClock, app: TestApp, changes: AnnouncementChanges = {}): Statement {
  const authKey = changes.authKey ?? testKey(`auth ${app.appId}`);
  const serviceKey = changes.serviceKey ?? testKey(`auth service ${app.appId}`);
  const keys = { authPublicKey: authKey.publicKey, servicePublicKey: serviceKey.publicKey };
  const authProviderUrl = `http://auth.test/apps/${app.appId}`;
  const common = { appId: app.appId, serviceId: "auth" };
  const providerAnswer = signStatement(
    AuthProvisionedSchema,
    {
      header: { issuedAt: BigInt(clock.seconds()), expiresAt: BigInt(clock.seconds() + 60) },
      appId: app.appId,
      ...keys,
      authProviderUrl,
      authKeyPossession: possessionOf(clock, authKey, { ...common, role: KeyRole.AUTH }),
      serviceKeyPossession: possessionOf(clock, serviceKey, { ...common, role: KeyRole.SERVICE }),
      ...changes.answer,
    },
    changes.answerer ?? providers.auth.key,
  );
  const message = {
    header: headerAt(clock),
    appId: app.appId,
    ...keys,
    authProviderUrl,
    authProvider: providers.auth.domain,
    providerAnswer,
    ...changes.announcement,
  };
  return signStatement(AuthAnnouncementSchema, message, changes.signer ?? app.master);
}

/** An update of an app's backbone to one billing service. */
export function backboneOf(
  clock: FakeClock,
  app: TestApp,
  fields: Partial<Fields<typeof BackboneUpdateSchema>> = {},
  signer = app.master,
): Statement {
  const message = {
    header: headerAt(clock),
    appId: app.appId,
    operationalServices: [{ role: OperationalRole.BILLING, name: "bill-1", url: "http://billing.test" }],
    ...fields,
  };
  return signStatement(BackboneUpdateSchema, message, signer);
}

/** A receipt for a service's termination. */
export function receiptOf(
  clock: FakeClock,
  service: TestService,
  fields: Partial<Fields<typeof TerminationReceiptSchema>> = {},
  signer = service.key,
): Statement {
  const message = {
    header: headerAt(clock),
    appId: service.app.appId,
    serviceId: service.serviceId,
    status: TerminationStatus.SUCCESS,
    message: "Instance purged",
    receiptId: "receipt-1",
    requestDigest: testBytes(32),
    ...fields,
  };
  return signStatement(TerminationReceiptSchema, message, signer);
}

/** A contact: what stands in the claim of a namespace, and what travels beside it. */
export function contactOf(email: string) {
  const contactSalt = testBytes(16);
  const contactCommitment = sha256(concatBytes(contactSalt, utf8(email)));
  return { claim: { contactCommitment }, beside: { contactEmail: email, contactSalt } };
}

/** Rotates a service's key, and returns the service as it is then. */
export async function rotateTestService(
  registry: RunningRegistry,
  service: TestService,
  fields: Partial<Omit<Rotation, "$typeName" | "header">> = {},
  key = testKey(`${service.key.keyId} next`),
): Promise<TestService> {
  await registry.registry.rotateKey({ statement: rotationOf(registry.clock, service, key, fields) });
  return { ...service, key };
}

/** A value that the contract says is there. */
export function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("missing");
  return value;
}
