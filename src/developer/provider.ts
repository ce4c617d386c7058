import type { DirectoryEntry, Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { isAtOrBelow } from "../core/domain.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { parseUrl } from "../core/url.ts";
import { answerInvalid } from "../directory/answer-invalid.ts";
import type { DeveloperCore } from "./core.ts";

/**
 * The directory entry of a provider.
 *
 * @throws Refusal PROVIDER_UNKNOWN {domain} if there is none or it is another kind of party
 */
export async function findProvider(core: DeveloperCore, domain: string, party: Party): Promise<DirectoryEntry> {
  const entry = await core.connections.directory.lookup(domain);
  if (entry.party === party) return entry;
  throw new Refusal(Reason.PROVIDER_UNKNOWN, `${domain} is another kind of party`, { metadata: { domain } });
}

/**
 * Checks that a URL which a provider states is its own.
 *
 * @throws Refusal ANSWER_INVALID {field, domain}
 */
export function checkOwnUrl(core: DeveloperCore, domain: string, url: string, field: string): void {
  const host = parseUrl(url, core.connections.allowPlainHttp)?.host;
  if (host === undefined || !isAtOrBelow(host, domain)) {
    throw answerInvalid(domain, field, "the URL is not at or below the provider's domain");
  }
}
