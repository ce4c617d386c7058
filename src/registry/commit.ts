import { EventSchema } from "../../gen/omi/event/v1/event_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { signStatement } from "../statement/statement.ts";
import type { RegistryCore } from "./core.ts";
import { type Effect, encodeEffect } from "./effects.ts";
import { eventOf } from "./event-of.ts";
import { encodeStatement } from "./keyring.ts";

/** A statement whose effect was decided. */
export interface DecidedStatement {
  id: Uint8Array;
  statement: Statement;
  effect: Effect;
  /** True if the body holds proofs or receipts and is not for strangers. */
  private: boolean;
}

/**
 * Appends a decided statement to the log, applies its effect to the tables and signs the event about it, all in the
 * transaction of the caller. A crash before its commit leaves nothing; after it, everything, and the event is sent when
 * the registry is back, as the outbox is the log itself.
 *
 * @param now registry time, Unix seconds
 */
export function commit(core: RegistryCore, decided: DecidedStatement, now: number): void {
  const { effect, id: statementId } = decided;
  const statement = encodeStatement(decided.statement);
  core.projection.apply({ time: now, statementId, statement, effect });
  const head = core.log.head();
  const event = signEvent(core, effect, head.index + 1, now);
  core.log.append(head, {
    time: now,
    statementId,
    statement,
    private: decided.private,
    effectType: effect.$typeName,
    effect: encodeEffect(effect),
    ...(event === undefined ? {} : { event }),
  });
  core.onEffect(effect, now);
}

function signEvent(core: RegistryCore, effect: Effect, logIndex: number, now: number) {
  const facts = eventOf(effect);
  if (facts?.appId === undefined) return undefined;
  const app = core.store.appState(facts.appId);
  if (app === undefined) throw new Error("an effect on an app left no app");
  const event = signStatement(
    EventSchema,
    {
      ...facts,
      header: { issuedAt: BigInt(now), appSequence: BigInt(app.sequence) },
      origin: core.domain,
      sequence: BigInt(app.sequence),
      logIndex: BigInt(logIndex),
      configEpoch: BigInt(app.configEpoch),
    },
    core.keyring.signingKey(now),
  );
  return { appId: facts.appId, sequence: app.sequence, statement: encodeStatement(event) };
}
