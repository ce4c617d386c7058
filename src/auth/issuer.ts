import { isAtOrBelow } from "../core/domain.ts";
import { parseUrl } from "../core/url.ts";

/** Where the provider's apps have their issuer. */
export type Issuer = {
  /** The provider's base URL without its path. */
  readonly origin: string;
  /** The path that all issuers begin with, e.g. `/apps/`. */
  readonly pathPrefix: string;
  /** The `iss` of an app's tokens, its `auth_provider_url`: one issuer for each app, so one key set for each app. */
  urlOf(appId: string): string;
};

/**
 * The issuers below a base URL.
 *
 * @param baseUrl where the provider's server is reached from outside; plain http only in development
 * @throws RangeError if it is no URL at or below the provider's domain: no registry would accept the announcement
 */
export function createIssuer(baseUrl: string, domain: string): Issuer {
  const parsed = parseUrl(baseUrl, () => true);
  if (parsed === undefined || !isAtOrBelow(parsed.host, domain)) {
    throw new RangeError(`the base URL must be at or below ${domain}`);
  }
  const { origin, pathname } = new URL(parsed.url);
  const pathPrefix = `${pathname === "/" ? "" : pathname}/apps/`;
  return { origin, pathPrefix, urlOf: (appId) => `${origin}${pathPrefix}${appId}` };
}
