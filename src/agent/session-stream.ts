import { createClient } from "@connectrpc/connect";
import {
  type SessionHeads,
  SessionHeadsSchema,
  type SessionRevoked,
  SessionRevokedSchema,
  SessionService,
} from "../../gen/omi/auth/v1/session_service_pb.ts";
import { type Service, ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { type Clock, unixSeconds } from "../core/clock.ts";
import { AUTH_SERVICE_ID } from "../core/names.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { answerInvalid } from "../directory/answer-invalid.ts";
import type { Connections } from "../directory/connections.ts";
import { verifyAnswer } from "../directory/verified.ts";
import type { Views } from "../directory/views.ts";
import type { TenantId } from "../tenancy/tenants.ts";
import { keyCounts } from "../token/access-token.ts";
import type { ServiceTokens } from "./service-tokens.ts";
import type { EventSource } from "./session-revocations.ts";

/** What {@link watchSessions} needs. */
export type SessionStreamOptions = {
  readonly views: Views;
  readonly connections: Pick<Connections, "transportFor">;
  readonly tokens: ServiceTokens;
  readonly clock: Clock;
};

/** What comes from an Auth Provider, verified. */
export type SessionMessage =
  | { readonly kind: "event"; readonly event: SessionRevoked }
  | { readonly kind: "heads"; readonly heads: SessionHeads };

const AUTH_TARGET = { serviceId: AUTH_SERVICE_ID };

// Heads come every 5 seconds. A stream that is silent for longer leads to nobody, in milliseconds.
const SILENCE_MS = 15_000;

/**
 * The Auth Provider of an app.
 *
 * @throws Refusal AUTH_MISSING if it has none; what the view throws
 */
export async function authProviderOf(appId: string, views: Views): Promise<EventSource> {
  const { context } = await views.app(appId);
  const origin = context?.authProvider ?? "";
  if (origin === "") throw new Refusal(Reason.AUTH_MISSING, "the app has no Auth Provider");
  return { appId, origin };
}

/**
 * Listens to the session events of a tenant's app at its Auth Provider, until the signal aborts. Messages are verified one by
 * one, with the key that the registry has for the record `auth`; whether one is missing is for the listener to see.
 *
 * @param afterSequence the last event that the listener has
 * @throws Refusal what getting a token or finding the provider throws, what the provider refuses, PROVIDER_UNAVAILABLE if
 *   it can't be reached or is silent for too long, ANSWER_INVALID for what doesn't verify
 */
export async function* watchSessions(
  tenant: TenantId,
  { source, afterSequence, signal }: { source: EventSource; afterSequence: bigint; signal: AbortSignal },
  options: SessionStreamOptions,
): AsyncGenerator<SessionMessage> {
  const { connections, tokens, clock } = options;
  const { appId, origin } = source;
  const token = await tokens.get(tenant, AUTH_TARGET);
  const transport = await connections.transportFor(origin);
  const left = new AbortController();
  const either = AbortSignal.any([signal, left.signal]);
  const listenOn = () => clock.setTimer(SILENCE_MS, () => left.abort(silent()));
  let cancelSilence = listenOn();
  try {
    const headers = { authorization: `Bearer ${token}` };
    const client = createClient(SessionService, transport);
    for await (const { event, heads } of client.watchSessions({ appId, afterSequence }, { headers, signal: either })) {
      cancelSilence();
      if (event !== undefined) yield { kind: "event", event: await readEvent(event, source, options) };
      else if (heads !== undefined) yield { kind: "heads", heads: await readHeads(heads, source, options) };
      cancelSilence = listenOn();
    }
    throw new Refusal(Reason.PROVIDER_UNAVAILABLE, "the Auth Provider has ended the stream");
  } catch (error) {
    tokens.drop(tenant, AUTH_TARGET);
    throw left.signal.aborted ? left.signal.reason : error;
  } finally {
    cancelSilence();
    // The stream ends when its signal aborts, and only then: also if the listener left its loop.
    left.abort();
  }
}

/**
 * Verifies an event that did not come by the stream, where anybody may say anything: a key that is not known is not looked for,
 * so that forgeries cost nothing but themselves.
 *
 * @throws Refusal ANSWER_INVALID; what the view of the app throws
 */
export async function verifyCarried(
  statement: Statement,
  source: EventSource,
  options: SessionStreamOptions,
): Promise<SessionRevoked> {
  const expected = expectation("event", source, { ...options, known: true });
  const { message } = await verifyAnswer(SessionRevokedSchema, statement, expected);
  requireFrom(source, message, "event");
  return message;
}

async function readEvent(
  statement: Statement,
  source: EventSource,
  options: SessionStreamOptions,
): Promise<SessionRevoked> {
  const { message } = await verifyAnswer(SessionRevokedSchema, statement, expectation("event", source, options));
  requireFrom(source, message, "event");
  return message;
}

async function readHeads(
  statement: Statement,
  source: EventSource,
  options: SessionStreamOptions,
): Promise<SessionHeads> {
  const { message } = await verifyAnswer(SessionHeadsSchema, statement, expectation("heads", source, options));
  requireFrom(source, message, "heads");
  return message;
}

function expectation(
  field: string,
  { appId, origin }: EventSource,
  { views, clock, known: onlyKnown = false }: Pick<SessionStreamOptions, "views" | "clock"> & { known?: boolean },
) {
  const now = unixSeconds(clock);
  const keyOf = (keyId: string, { status, provider, keys }: Service) => {
    if (status !== ServiceStatus.ACTIVE || provider !== origin) return undefined;
    return keys.find((key) => key.keyId === keyId && keyCounts(key, now))?.publicKey;
  };
  return {
    domain: origin,
    field,
    now,
    async signerKey(keyId: string) {
      const known = keyOf(keyId, await views.service(appId, AUTH_SERVICE_ID));
      if (onlyKnown) return known;
      // A key that was announced or rotated a moment ago.
      return known ?? keyOf(keyId, await views.refreshService(appId, AUTH_SERVICE_ID));
    },
  };
}

function requireFrom(source: EventSource, message: SessionRevoked | SessionHeads, field: string): void {
  if (message.appId !== source.appId) throw answerInvalid(source.origin, `${field}.app_id`, "it is of another app");
  if (message.origin !== source.origin)
    throw answerInvalid(source.origin, `${field}.origin`, "it is of another provider");
}

function silent(): Refusal {
  return new Refusal(Reason.PROVIDER_UNAVAILABLE, "the Auth Provider has been silent for too long");
}
