import { SessionHeadsSchema, SessionRevokedSchema } from "../../gen/omi/auth/v1/session_service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import type { SigningKey } from "../statement/crypto.ts";
import { signStatement } from "../statement/statement.ts";
import type { SessionEvent } from "./session-events.ts";

/** For how long heads may be relied on, in seconds. */
const HEADS_LIFE_SECONDS = 10;

/** The end of a session, as the Auth Provider `origin` says it. The same event and key always make the same Statement. */
export function signSessionEvent(origin: string, event: SessionEvent, key: SigningKey): Statement {
  const { appId, sequence, sessionId, endedAt, expiresAt } = event;
  return signStatement(
    SessionRevokedSchema,
    {
      header: { issuedAt: BigInt(endedAt), expiresAt: BigInt(expiresAt) },
      origin,
      appId,
      sessionId,
      sequence: BigInt(sequence),
    },
    key,
  );
}

/** Where an app's session events stand at `now`, in Unix seconds. */
export function signSessionHeads(
  origin: string,
  { appId, sequence, now }: { appId: string; sequence: number; now: number },
  key: SigningKey,
): Statement {
  return signStatement(
    SessionHeadsSchema,
    {
      header: { issuedAt: BigInt(now), expiresAt: BigInt(now + HEADS_LIFE_SECONDS) },
      origin,
      appId,
      sequence: BigInt(sequence),
    },
    key,
  );
}
