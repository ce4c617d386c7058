import { nextStepOf } from "../core/next-steps.ts";
import { Reason, Refusal, reasonName } from "../core/refusal.ts";

// The registry, or the way to it, is in trouble: it has not judged what it was sent. The same call later may well succeed.
const TROUBLE: ReadonlySet<Reason> = new Set([
  Reason.REGISTRY_UNAVAILABLE,
  Reason.RATE_LIMITED,
  Reason.OVERLOADED,
  Reason.SHUTTING_DOWN,
  Reason.INTERNAL,
  Reason.UNIMPLEMENTED,
  Reason.DEADLINE_EXCEEDED,
  Reason.ADDRESS_NOT_ALLOWED,
]);

// Our own verdict on an answer: nothing is known about what the registry did.
const DOUBT: ReadonlySet<Reason> = new Set([Reason.ANSWER_INVALID, Reason.REGISTRY_ROLLED_BACK]);

/** True if a failed call to a registry leaves open whether it accepted what it was sent, so that it has to be asked again. */
export function leavesOpen(error: Refusal): boolean {
  return TROUBLE.has(error.reason) || DOUBT.has(error.reason);
}

/**
 * What a call to a registry that failed means for the developer on whose behalf it was made: REGISTRY_UNAVAILABLE {registry}
 * for trouble on the way, ANSWER_INVALID as it is, REGISTRY_REFUSED {registry_reason} for a refusal of the registry. What
 * is no Refusal stays what it is.
 *
 * @param registry the registry's domain
 */
export function registryFailure(error: unknown, registry: string): unknown {
  if (!(error instanceof Refusal)) return error;
  if (TROUBLE.has(error.reason)) {
    return new Refusal(Reason.REGISTRY_UNAVAILABLE, "the app's registry could not be reached", {
      metadata: { registry },
      nextStep: "send the same bytes again",
      cause: error,
    });
  }
  if (DOUBT.has(error.reason))
    return new Refusal(error.reason, error.message, { metadata: error.metadata, cause: error });
  return registryRefused(reasonName(error.reason), error);
}

/** @param registryReason the name of the registry's Reason, e.g. `ROTATION_IN_GRACE` */
export function registryRefused(registryReason: string, cause?: unknown): Refusal {
  return new Refusal(Reason.REGISTRY_REFUSED, `the registry refused: ${registryReason}`, {
    metadata: { registry_reason: registryReason },
    nextStep: nextStepOf(registryReason),
    cause,
  });
}
