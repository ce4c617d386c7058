import { type Event, EventTypeSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import { parseAppId } from "../../core/app-id.ts";
import { isDomain } from "../../core/domain.ts";

// A registry's events have the subjects `omi.v1.<registry>.<namespace>.<slug>_<hash>.<event>`, an Auth Provider's session
// events `omi.v1.auth.<auth provider>.<registry>.<namespace>.<slug>_<hash>.session_revoked`. A domain has two labels or more, so
// no registry's token is `auth`. Everything in them was checked for its form before: a name with a dot or a wildcard would be
// another subject.

/** A domain as one token of a subject or name. `_` is in no domain, so two domains never become the same token. */
export function domainToken(domain: string): string {
  if (!isDomain(domain)) throw new RangeError("not a domain");
  return domain.replaceAll(".", "_");
}

/** What all subjects of a registry's events match. */
export function registrySubjects(registryDomain: string): string {
  return `omi.v1.${domainToken(registryDomain)}.>`;
}

/** What all subjects of an Auth Provider's session events match. */
export function sessionSubjects(authProvider: string): string {
  return `omi.v1.auth.${domainToken(authProvider)}.>`;
}

/**
 * The subject of an event.
 *
 * @throws RangeError if its AppID or type is not one
 */
export function eventSubject({ appId, event }: Pick<Event, "appId" | "event">): string {
  const type = EventTypeSchema.value[event];
  if (type === undefined) throw new RangeError("not a type of event");
  return `omi.v1.${appTokens(appId)}.${type.localName.toLowerCase()}`;
}

/**
 * The subject of the ends of an app's sessions at an Auth Provider.
 *
 * @throws RangeError if it is no AppID or no domain
 */
export function sessionRevokedSubject(authProvider: string, appId: string): string {
  return `omi.v1.auth.${domainToken(authProvider)}.${appTokens(appId)}.session_revoked`;
}

function appTokens(appId: string): string {
  const app = parseAppId(appId);
  if (app === undefined) throw new RangeError("not an AppID");
  const { registryDomain, namespace, slug, hash } = app;
  return `${domainToken(registryDomain)}.${namespace}.${slug}_${hash}`;
}
