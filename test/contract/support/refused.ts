import { expect } from "vitest";
import { Reason, type Refusal, reasonName } from "../../../src/core/refusal.ts";
import { documentedMetadata } from "../../architecture/proto-text.ts";

/** The refusal that a call must end with; its metadata are those that the contract documents. */
export async function refused(call: Promise<unknown>, reason: Reason): Promise<Refusal> {
  const refusal = (await call.then(
    () => expect.fail(`accepted, expected ${reasonName(reason)}`),
    (error: unknown) => error,
  )) as Refusal;
  expect({ ...refusal, reason: reasonName(refusal.reason) }).toMatchObject({ reason: reasonName(reason) });
  // What the HTTP layer could not read has no fields.
  if (reason !== Reason.MALFORMED) expect(Object.keys(refusal.metadata).sort()).toEqual(documentedMetadata(reason));
  return refusal;
}
