import { type Event, EventTypeSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import { parseAppId } from "../../core/app-id.ts";
import { isDomain } from "../../core/domain.ts";

// Subjects are `omi.v1.<registry>.<namespace>.<slug>_<hash>.<event>`. Everything in them was checked for its form before:
// a name with a dot or a wildcard would be another subject.

/** A domain as one token of a subject or name. `_` is in no domain, so two domains never become the same token. */
export function domainToken(domain: string): string {
  if (!isDomain(domain)) throw new RangeError("not a domain");
  return domain.replaceAll(".", "_");
}

/** What all subjects of a registry's events match. */
export function registrySubjects(registryDomain: string): string {
  return `omi.v1.${domainToken(registryDomain)}.>`;
}

/** The name of the stream of a registry's events where none is configured. */
export function defaultStreamName(registryDomain: string): string {
  return `omi_${domainToken(registryDomain)}`;
}

/**
 * The subject of an event.
 *
 * @throws RangeError if its AppID or type is not one
 */
export function eventSubject({ appId, event }: Pick<Event, "appId" | "event">): string {
  const app = parseAppId(appId);
  const type = EventTypeSchema.value[event];
  if (app === undefined || type === undefined) throw new RangeError("not an event of an app");
  const { registryDomain, namespace, slug, hash } = app;
  return `omi.v1.${domainToken(registryDomain)}.${namespace}.${slug}_${hash}.${type.localName.toLowerCase()}`;
}
