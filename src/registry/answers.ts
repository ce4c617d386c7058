import { create, type DescMessage, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { KeyAlgorithm, KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import {
  type App,
  AppAnswerSchema,
  AppSchema,
  type KeyRecord,
  KeyRecordSchema,
  KeyStatus,
  type OperationalContext,
  OperationalContextSchema,
} from "../../gen/omi/registry/v1/app_pb.ts";
import { BackboneChangedSchema, NamespaceClaimedSchema } from "../../gen/omi/registry/v1/log_pb.ts";
import { NamespaceAnswerSchema } from "../../gen/omi/registry/v1/namespace_pb.ts";
import {
  BindingAnswerSchema,
  type Service,
  ServiceAnswerSchema,
  ServiceSchema,
} from "../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { AUTH_SERVICE_ID } from "../core/names.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { signStatement } from "../statement/statement.ts";
import { type ReadCore, registryTime } from "./core.ts";
import { requireApp } from "./rules/authority.ts";
import { type AppRow, type AppState, KeyState, type ServiceKeyRow, type ServiceRow } from "./store.ts";
import { appSubject, namespaceSubject } from "./subjects.ts";

/** For how long an answer may be used at most, in seconds. */
const maxAnswerLifeSeconds = 60;

/** What an answer says, before it is an answer to somebody at some time. */
export interface Facts<Desc extends DescMessage = DescMessage> {
  schema: Desc;
  /** The answer without its header. */
  message: MessageInitShape<Desc>;
  /** The app's sequence; 0 if no app is concerned. */
  appSequence: number;
  /** The app's config epoch, where the response tells it beside the answer. */
  configEpoch: number;
  /** When the first of the grace periods ends that it tells of, in Unix seconds; Infinity if it tells of none. */
  graceEnd: number;
  /** What it speaks of: it holds until one of these changes. See `subjects.ts`. */
  subjects: readonly string[];
}

/** A namespace as it is now. Throws Refusal NAMESPACE_UNKNOWN. */
export function namespaceFacts(core: ReadCore, name: string): Facts<typeof NamespaceAnswerSchema> {
  const row = core.store.namespace(name);
  if (row === undefined) throw new Refusal(Reason.NAMESPACE_UNKNOWN, "this registry has no such namespace");
  const claim = fromBinary(NamespaceClaimedSchema, row.claim);
  return {
    schema: NamespaceAnswerSchema,
    message: {
      namespace: {
        namespace: row.namespace,
        status: row.status,
        masterPublicKey: row.masterPublicKey,
        masterKeyId: row.masterKeyId,
        algorithm: KeyAlgorithm.ED25519,
        guardianPublicKeys: claim.guardianPublicKeys,
        contactCommitment: claim.contactCommitment,
        ...(claim.metadata === undefined ? {} : { metadata: claim.metadata }),
        claimedAt: BigInt(row.claimedAt),
      },
    },
    appSequence: 0,
    configEpoch: 0,
    graceEnd: Number.POSITIVE_INFINITY,
    subjects: [namespaceSubject(name)],
  };
}

/** An app as it is at `now` (Unix seconds). Throws Refusal APP_UNKNOWN. */
export function appFacts(core: ReadCore, appId: string, now: number): Facts<typeof AppAnswerSchema> {
  const row = requireApp(core.store.app(appId));
  const app = appMessage(core, row, now);
  const facts = factsOfApp(AppAnswerSchema, { app }, row, app.context?.authKeys ?? []);
  // Its Master key is the namespace's.
  return { ...facts, subjects: [...facts.subjects, namespaceSubject(row.ownerNamespace)] };
}

/** A service as it is at `now` (Unix seconds). Throws Refusal APP_UNKNOWN or SERVICE_UNKNOWN. */
export function serviceFacts(
  core: ReadCore,
  appId: string,
  serviceId: string,
  now: number,
): Facts<typeof ServiceAnswerSchema> {
  const app = requireApp(core.store.appState(appId));
  const service = serviceMessage(core, requireService(core.store.service(appId, serviceId)), now);
  return factsOfApp(ServiceAnswerSchema, { service }, app, service.keys);
}

/** Facts that change with every event of one app, and with nothing else. */
export function factsOfApp<Desc extends DescMessage>(
  schema: Desc,
  message: MessageInitShape<Desc>,
  app: AppState,
  keys: readonly KeyRecord[],
): Facts<Desc> {
  return {
    schema,
    message,
    appSequence: app.sequence,
    configEpoch: app.configEpoch,
    graceEnd: graceEndOf(keys),
    subjects: [appSubject(app.appId)],
  };
}

/** An answer about a namespace as it is now. */
export function namespaceAnswer(core: ReadCore, name: string, statementId: Uint8Array): Statement {
  return answer(core, namespaceFacts(core, name), registryTime(core), statementId);
}

/** An answer about an app as it is now. */
export function appAnswer(core: ReadCore, appId: string, statementId: Uint8Array): Statement {
  const now = registryTime(core);
  return answer(core, appFacts(core, appId, now), now, statementId);
}

/** An answer about a service as it is now, with the app's config epoch for the unsigned hint beside it. */
export function serviceAnswer(
  core: ReadCore,
  appId: string,
  serviceId: string,
  statementId: Uint8Array,
): { answer: Statement; configEpoch: bigint } {
  const now = registryTime(core);
  const facts = serviceFacts(core, appId, serviceId, now);
  return { answer: answer(core, facts, now, statementId), configEpoch: BigInt(facts.configEpoch) };
}

/** The answer to a binding: the service and the app's context as they are now. */
export function bindingAnswer(core: ReadCore, appId: string, serviceId: string, statementId: Uint8Array): Statement {
  const app = requireApp(core.store.app(appId));
  const now = registryTime(core);
  const service = serviceMessage(core, requireService(core.store.service(appId, serviceId)), now);
  const context = contextMessage(core, app, now);
  const facts = factsOfApp(BindingAnswerSchema, { service, context }, app, [...service.keys, ...context.authKeys]);
  return answer(core, facts, now, statementId);
}

/** Answers a statement. */
function answer<Desc extends DescMessage>(
  core: ReadCore,
  facts: Facts<Desc>,
  now: number,
  statementId: Uint8Array,
): Statement {
  const header = { ...answerHeader(core, facts, now), inReplyTo: statementId };
  return sign(core, facts.schema, now, { ...facts.message, header } as MessageInitShape<Desc>);
}

/** Signs a message with the key that is in force at `now`. */
export function sign<Desc extends DescMessage>(
  core: ReadCore,
  schema: Desc,
  now: number,
  message: MessageInitShape<Desc>,
): Statement {
  return signStatement(schema, message, core.keyring.signingKey(now));
}

/**
 * The header of an answer, but for what it answers. It expires after a minute, and no later than any grace period that it
 * tells of or the key that signs it, so that nobody trusts a key longer because of a cache.
 */
export function answerHeader(
  core: ReadCore,
  { appSequence, graceEnd }: Pick<Facts, "appSequence" | "graceEnd">,
  now: number,
) {
  return {
    issuedAt: BigInt(now),
    expiresAt: BigInt(Math.min(now + maxAnswerLifeSeconds, graceEnd, core.keyring.signingKeyEnd(now))),
    appSequence: BigInt(appSequence),
  };
}

/** When the first of the keys' grace periods ends, in Unix seconds; Infinity if none is in grace. */
function graceEndOf(keys: readonly KeyRecord[]): number {
  const ends = keys.filter((key) => key.status === KeyStatus.GRACE).map((key) => Number(key.notAfter));
  return Math.min(Number.POSITIVE_INFINITY, ...ends);
}

/** A service as answers show it. */
export function serviceMessage(core: ReadCore, row: ServiceRow, now: number): Service {
  return create(ServiceSchema, {
    appId: row.appId,
    serviceId: row.serviceId,
    serviceType: row.serviceType,
    provider: row.provider,
    status: row.status,
    endpointUrl: row.endpointUrl,
    keys: keyRecords(core.store.keysOfService(row.appId, row.serviceId, KeyRole.SERVICE, now)),
    boundAt: BigInt(row.boundAt),
    updatedAt: BigInt(row.updatedAt),
  });
}

function appMessage(core: ReadCore, app: AppRow, now: number): App {
  return create(AppSchema, {
    appId: app.appId,
    ownerNamespace: app.ownerNamespace,
    projectSlug: app.projectSlug,
    displayName: app.displayName,
    description: app.description,
    masterPublicKey: app.masterPublicKey,
    masterKeyId: app.masterKeyId,
    algorithm: KeyAlgorithm.ED25519,
    registeredAt: BigInt(app.registeredAt),
    context: contextMessage(core, app, now),
  });
}

function contextMessage(core: ReadCore, app: AppRow, now: number): OperationalContext {
  return create(OperationalContextSchema, {
    appId: app.appId,
    configEpoch: BigInt(app.configEpoch),
    operationalServices: fromBinary(BackboneChangedSchema, app.backbone).operationalServices,
    authKeys: keyRecords(core.store.keysOfService(app.appId, AUTH_SERVICE_ID, KeyRole.AUTH, now)),
    authProviderUrl: app.authProviderUrl,
    authProvider: app.authProvider,
  });
}

function keyRecords(rows: readonly ServiceKeyRow[]): KeyRecord[] {
  return rows.map((row) =>
    create(KeyRecordSchema, {
      publicKey: row.publicKey,
      keyId: row.keyId,
      algorithm: KeyAlgorithm.ED25519,
      status: row.state === KeyState.ACTIVE ? KeyStatus.ACTIVE : KeyStatus.GRACE,
      notAfter: BigInt(row.notAfter),
    }),
  );
}

function requireService(service: ServiceRow | undefined): ServiceRow {
  if (service === undefined) throw new Refusal(Reason.SERVICE_UNKNOWN, "the app has no such service");
  return service;
}
