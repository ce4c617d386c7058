import { Reason, Refusal } from "../core/refusal.ts";

/** The refusal for an answer of `domain` that does not verify; `field` is the path of what is wrong in it. */
export function answerInvalid(domain: string, field: string, problem: string, cause?: unknown): Refusal {
  return new Refusal(Reason.ANSWER_INVALID, `the answer of ${domain} does not verify: ${problem}`, {
    metadata: { field, domain },
    cause,
  });
}

/** Runs `check` on a part of an answer of `domain`; what it refuses makes the answer one that does not verify. */
export async function checkAnswer<T>(domain: string, check: () => T | Promise<T>): Promise<T> {
  try {
    return await check();
  } catch (error) {
    if (!(error instanceof Refusal) || error.reason === Reason.ANSWER_INVALID) throw error;
    throw answerInvalid(domain, error.metadata.field ?? "", error.message, error);
  }
}
