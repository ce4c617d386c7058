import { readFileSync } from "node:fs";

const documented = new URL("../../../docs/operations/proxy.conf", import.meta.url);

/** A certificate for localhost. */
export const proxyTls = {
  certFile: new URL("../../support/tls/cert.pem", import.meta.url).pathname,
  keyFile: new URL("../../support/tls/key.pem", import.meta.url).pathname,
};

/**
 * The configuration of nginx that the documentation has, as it is but for addresses and paths.
 *
 * @param to - `listen`: an address, with how it is served; `origin`: the part's URL; `cacheFolder`: is made if absent
 */
export function proxyConf(to: { listen: string; origin: string; cacheFolder: string }): string {
  const { protocol, host } = new URL(to.origin);
  const replacements = {
    "443 ssl http2": to.listen,
    "127.0.0.1:7100": host,
    "https:": protocol,
    "grpcs:": protocol.replace("http", "grpc"),
    "/etc/omi/tls/cert.pem": proxyTls.certFile,
    "/etc/omi/tls/key.pem": proxyTls.keyFile,
    "/var/cache/omi": to.cacheFolder,
  };
  return Object.entries(replacements).reduce(
    (text, [from, to]) => {
      if (!text.includes(from)) throw new Error(`${documented.pathname} has no ${from}`);
      return text.replaceAll(from, to);
    },
    readFileSync(documented, "utf8"),
  );
}
