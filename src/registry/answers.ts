import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
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
import type { AnswerHeader, Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { AUTH_SERVICE_ID } from "../core/names.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { signStatement } from "../statement/statement.ts";
import { type RegistryCore, registryTime } from "./core.ts";
import { requireApp } from "./rules/authority.ts";
import { type AppRow, type KeyRow, KeyState, type ServiceRow } from "./store.ts";

/** What an answer answers: a statement, or the query of a read. */
export type InReplyTo = { statementId: Uint8Array } | { query: Uint8Array };

/** For how long an answer may be used at most, in seconds. */
const maxAnswerLifeSeconds = 60;

/** The query of a read: the request message, as the caller must encode it to compare. */
export function queryOf<Desc extends DescMessage>(schema: Desc, request: MessageShape<Desc>): InReplyTo {
  return { query: toBinary(schema, request, { writeUnknownFields: false }) };
}

/** An answer about a namespace as it is now. */
export function namespaceAnswer(core: RegistryCore, name: string, to: InReplyTo): Statement {
  const row = core.store.namespace(name);
  if (row === undefined) throw new Refusal(Reason.NAMESPACE_UNKNOWN, "this registry has no such namespace");
  const now = registryTime(core);
  const claim = fromBinary(NamespaceClaimedSchema, row.claim);
  return sign(core, NamespaceAnswerSchema, now, {
    header: header(now, to),
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
  });
}

/** An answer about an app as it is now. */
export function appAnswer(core: RegistryCore, appId: string, to: InReplyTo): Statement {
  const app = requireApp(core.store.app(appId));
  const now = registryTime(core);
  const message = appMessage(core, app, now);
  return sign(core, AppAnswerSchema, now, {
    header: header(now, to, app, message.context?.authKeys),
    app: message,
  });
}

/** An answer about a service as it is now, with the app's config epoch for the unsigned hint beside it. */
export function serviceAnswer(
  core: RegistryCore,
  appId: string,
  serviceId: string,
  to: InReplyTo,
): { answer: Statement; configEpoch: bigint } {
  const app = requireApp(core.store.app(appId));
  const now = registryTime(core);
  const service = serviceMessage(core, requireService(core.store.service(appId, serviceId)), now);
  const answer = sign(core, ServiceAnswerSchema, now, { header: header(now, to, app, service.keys), service });
  return { answer, configEpoch: BigInt(app.configEpoch) };
}

/** The answer to a binding: the service and the app's context as they are now. */
export function bindingAnswer(core: RegistryCore, appId: string, serviceId: string, to: InReplyTo): Statement {
  const app = requireApp(core.store.app(appId));
  const now = registryTime(core);
  const service = serviceMessage(core, requireService(core.store.service(appId, serviceId)), now);
  const context = contextMessage(core, app, now);
  return sign(core, BindingAnswerSchema, now, {
    header: header(now, to, app, [...service.keys, ...context.authKeys]),
    service,
    context,
  });
}

/** Signs a message with the key that is in force at `now`. */
export function sign<Desc extends DescMessage>(
  core: RegistryCore,
  schema: Desc,
  now: number,
  message: MessageInitShape<Desc>,
): Statement {
  return signStatement(schema, message, core.keyring.signingKey(now));
}

/**
 * The header of an answer. It expires after a minute, and no later than any grace period that it tells of, so that nobody
 * trusts a key longer because of a cache.
 */
export function header(
  now: number,
  to: InReplyTo,
  app?: Pick<AppRow, "sequence">,
  keys: readonly KeyRecord[] = [],
): Partial<Omit<AnswerHeader, "$typeName" | "$unknown">> {
  const graceEnds = keys.filter((key) => key.status === KeyStatus.GRACE).map((key) => Number(key.notAfter));
  return {
    issuedAt: BigInt(now),
    expiresAt: BigInt(Math.min(now + maxAnswerLifeSeconds, ...graceEnds)),
    appSequence: BigInt(app?.sequence ?? 0),
    ...("query" in to ? { query: to.query } : { inReplyTo: to.statementId }),
  };
}

/** A service as answers show it. */
export function serviceMessage(core: RegistryCore, row: ServiceRow, now: number): Service {
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

function appMessage(core: RegistryCore, app: AppRow, now: number): App {
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

function contextMessage(core: RegistryCore, app: AppRow, now: number): OperationalContext {
  return create(OperationalContextSchema, {
    appId: app.appId,
    configEpoch: BigInt(app.configEpoch),
    operationalServices: fromBinary(BackboneChangedSchema, app.backbone).operationalServices,
    authKeys: keyRecords(core.store.keysOfService(app.appId, AUTH_SERVICE_ID, KeyRole.AUTH, now)),
    authProviderUrl: app.authProviderUrl,
    authProvider: app.authProvider,
  });
}

function keyRecords(rows: readonly KeyRow[]): KeyRecord[] {
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
