import { appOf, type Effect } from "./effects.ts";

/** The subject of answers about the registry itself, which every write changes: they tell how long the log is. */
export const registrySubject = "registry";

/** The subject of answers about an app or its services. */
export function appSubject(appId: string): string {
  return `app ${appId}`;
}

/** The subject of answers about a namespace. */
export function namespaceSubject(namespace: string): string {
  return `namespace ${namespace}`;
}

/** What an effect changes. */
export function subjectsOf(effect: Effect): string[] {
  const subjects = [registrySubject];
  const appId = appOf(effect);
  if (appId !== undefined) subjects.push(appSubject(appId));
  if ("namespace" in effect) subjects.push(namespaceSubject(effect.namespace));
  return subjects;
}
