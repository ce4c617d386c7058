import { Reason } from "../core/refusal.ts";
import { refuse } from "./breach.ts";
import type { OpenedRequest } from "./statement.ts";

/**
 * Checks that a request is meant for this party.
 *
 * @param domain the domain of the party that must be the audience: of the registry or provider that was called, or for a
 *   nested Statement of the registry it is meant for
 * @throws Refusal AUDIENCE_MISMATCH
 */
export function checkAudience(request: OpenedRequest, domain: string): void {
  if (request.header.audience !== domain) {
    const metadata = { expected: domain };
    throw refuse(request.field, { reason: Reason.AUDIENCE_MISMATCH, path: "header.audience", metadata });
  }
}
