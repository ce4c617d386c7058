/** The greatest length of a namespace, in characters. */
export const MAX_NAMESPACE_LENGTH = 32;

/** The greatest length of a project slug, a service ID or a parameter name, in characters. */
export const MAX_NAME_LENGTH = 63;

/** The service ID of every app's Auth Provider record; no other service may use it. */
export const AUTH_SERVICE_ID = "auth";

// A name starts with a letter, and `-` and `_` stand only between letters and digits. ASCII only, so there are no
// look-alikes, and every name can stand in a path, a log line or a message subject as it is.
const NAME = /^[a-z][a-z0-9]*(?:[_-][a-z0-9]+)*$/;
const MIN_LENGTH = 2;

/** True for a well-formed namespace: `[a-z][a-z0-9]*([_-][a-z0-9]+)*`, 2 to 32 characters. */
export function isNamespace(text: string): boolean {
  return isNameUpTo(MAX_NAMESPACE_LENGTH, text);
}

/** True for a well-formed project slug, service ID or parameter name: a namespace's alphabet, 2 to 63 characters. */
export function isName(text: string): boolean {
  return isNameUpTo(MAX_NAME_LENGTH, text);
}

/**
 * The form of a name under which it must be unique: `-` and `_` count as the same character, so that nobody can claim
 * `my_shop` beside `my-shop`.
 */
export function foldName(name: string): string {
  return name.replaceAll("_", "-");
}

/** True if nobody may claim this namespace: it could be taken for the registry, its operator or a role in the mesh. */
export function isReservedNamespace(namespace: string): boolean {
  const folded = foldName(namespace);
  return RESERVED_WORDS.has(folded) || RESERVED_NAMESPACES.has(folded);
}

/** True if no app may have this project slug. Namespaces tell apps apart, so fewer words are kept from developers here. */
export function isReservedSlug(slug: string): boolean {
  return RESERVED_WORDS.has(foldName(slug));
}

/** True if no developer and no service may give a service this ID. */
export function isReservedServiceId(serviceId: string): boolean {
  return foldName(serviceId) === AUTH_SERVICE_ID;
}

function isNameUpTo(maxLength: number, text: string): boolean {
  return text.length >= MIN_LENGTH && text.length <= maxLength && NAME.test(text);
}

// All lists are written folded.

const RESERVED_WORDS: ReadonlySet<string> = new Set([
  // The mesh itself, and whoever runs a registry.
  "omi",
  "registry",
  "admin",
  "root",
  "system",
  // What programs and people read as "nothing" or "anything".
  "null",
  "nil",
  "none",
  "undefined",
  "unknown",
  "all",
  "any",
  "self",
]);

const RESERVED_NAMESPACES: ReadonlySet<string> = new Set([
  // Parts and roles of the mesh.
  "app-registry",
  "service-registry",
  "catalog",
  "directory",
  "auth",
  "auth-provider",
  "billing",
  "agent",
  "provider",
  "guardian",
  "master",
  // Words for whoever runs a registry.
  "administrator",
  "operator",
  "owner",
  "official",
  "staff",
  "security",
  "abuse",
  "support",
  "help",
  "status",
  // Host names and mailboxes that a registry's domain may have beside it.
  "api",
  "www",
  "web",
  "mail",
  "ftp",
  "smtp",
  "dns",
  "ns",
  "localhost",
  "well-known",
  "hostmaster",
  "postmaster",
  "webmaster",
  "noreply",
  "no-reply",
  "anonymous",
]);
