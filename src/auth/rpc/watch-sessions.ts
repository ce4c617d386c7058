import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type WatchSessionsRequest,
  WatchSessionsRequestSchema,
  WatchSessionsResponseSchema,
} from "../../../gen/omi/auth/v1/session_service_pb.ts";
import { unixSeconds } from "../../core/clock.ts";
import { AUTH_SERVICE_ID } from "../../core/names.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { frameOf } from "../../rpc/ready/frame.ts";
import { generatedSource } from "../../rpc/ready/generated-source.ts";
import type { OpenStream } from "../../rpc/ready/ready-streams.ts";
import { checkBounds } from "../../statement/bounds.ts";
import type { SigningKey } from "../../statement/crypto.ts";
import type { ServiceCaller } from "../../tenancy/service-callers.ts";
import { bearerToken } from "../../token/bearer.ts";
import { audienceOf } from "../../token/claims.ts";
import { type AuthCore, tenantOf } from "../core.ts";
import { signSessionEvent, signSessionHeads } from "../session-statements.ts";

// Silence proves nothing, so heads are sent this often, in milliseconds.
const HEADS_INTERVAL_MS = 5000;

/** How many events a stream holds in memory at the most. */
const BATCH_SIZE = 100;

/** `SessionService.WatchSessions`. Who listens is checked again with every head: a stream may last longer than its token. */
export function watchSessions(core: AuthCore): OpenStream {
  return (encoded, wake, headers) => {
    const request = fromBinary(WatchSessionsRequestSchema, encoded);
    checkBounds(WatchSessionsRequestSchema, request);
    const token = bearerToken(headers);
    return generatedSource((signal) => watchWith(core, request, token, signal), wake);
  };
}

async function* watchWith(
  core: AuthCore,
  { appId, afterSequence }: WatchSessionsRequest,
  token: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  core.tenancy.tenants.active(tenantOf(appId));
  const caller = await core.callers.authenticate(token, appId, () => [audienceOf(appId, AUTH_SERVICE_ID)]);
  if (afterSequence > BigInt(core.sessionEvents.head(appId))) {
    const metadata = { field: "after_sequence" };
    throw new Refusal(Reason.CURSOR_INVALID, "after_sequence is ahead of the head", { metadata });
  }
  yield* stream(core, caller, Number(afterSequence), signal);
}

async function* stream(
  core: AuthCore,
  caller: ServiceCaller,
  afterSequence: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { sessionEvents, sessionHub, clock } = core;
  const { appId } = caller;
  const { domain } = core.tenancy.provider;
  const signHeads = (sequence: number, key: SigningKey) =>
    signSessionHeads(domain, { appId, sequence, now: unixSeconds(clock) }, key);
  let cursor = afterSequence;
  const subscription = sessionHub.subscribe([appId]);
  try {
    let key = await keyOfRecord(core, appId);
    yield encoded({ heads: signHeads(sessionEvents.head(appId), key) });
    let headsAt = clock.now() + HEADS_INTERVAL_MS;
    while (!signal.aborted) {
      const events = sessionEvents.after(appId, cursor, unixSeconds(clock), BATCH_SIZE);
      const isAll = events.length < BATCH_SIZE;
      // Read in the same moment: whoever has these events has all up to this head that still say something.
      const head = isAll && clock.now() >= headsAt ? sessionEvents.head(appId) : undefined;
      for (const event of events) {
        yield encoded({ event: signSessionEvent(domain, event, key) });
        cursor = event.sequence;
      }
      if (head !== undefined) {
        await core.callers.requireCurrent(caller);
        key = await keyOfRecord(core, appId);
        yield encoded({ heads: signHeads(head, key) });
        cursor = head;
        headsAt = clock.now() + HEADS_INTERVAL_MS;
      }
      if (isAll) await subscription.wait(Math.max(headsAt - clock.now(), 0), signal);
    }
  } finally {
    subscription.close();
  }
}

function encoded(response: MessageInitShape<typeof WatchSessionsResponseSchema>): Uint8Array {
  return frameOf(toBinary(WatchSessionsResponseSchema, create(WatchSessionsResponseSchema, response)));
}

/**
 * The Service key of the record `auth`, which is what listeners verify with. It may have been announced since the tenant
 * last heard of its developer.
 */
async function keyOfRecord({ tenancy, orders, views }: AuthCore, appId: string): Promise<SigningKey> {
  const tenant = tenantOf(appId);
  tenancy.tenants.active(tenant);
  await orders.adopt(await views.app(appId));
  const current = tenancy.keys.current(tenant);
  if (current === undefined) throw new Error("an active tenant has no current key");
  return current;
}
