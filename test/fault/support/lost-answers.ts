import { ServiceKeyRotatedSchema } from "../../../gen/omi/agent/v1/agent_pb.ts";
import type { Statement } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { openAnswer, statementId } from "../../../src/statement/statement.ts";
import type { Calls } from "./calls.ts";
import type { LoggedEffect, RegistryFacts } from "./registry-facts.ts";

/**
 * Counts the calls that were cut after the registry had committed what they wanted: where the very next attempt found
 * everything done. Only those are counted whose last attempt began in a later second than the commit.
 */
export function countLostAnswers({ log }: RegistryFacts, calls: Calls): number {
  const committed = new Map<string, LoggedEffect>(log.map((entry) => [entry.statementId, entry]));
  for (const entry of log) {
    const { effect } = entry;
    if (effect.$typeName === "omi.registry.v1.ServiceBound") committed.set(toHex(effect.proofId), entry);
    if (effect.$typeName === "omi.registry.v1.KeyRotated") committed.set(toHex(effect.newPublicKey), entry);
  }
  return calls.answered.filter(({ attempts, sentAt, statement, response }) => {
    const { answer } = response as { answer?: Statement };
    const rotated =
      answer?.type === ServiceKeyRotatedSchema.typeName
        ? openAnswer(ServiceKeyRotatedSchema, answer).message
        : undefined;
    const entry = committed.get(rotated === undefined ? toHex(statementId(statement)) : toHex(rotated.publicKey));
    return attempts > 1 && entry !== undefined && entry.time < Math.floor(sentAt / 1000);
  }).length;
}
