import { ConfigError, type ConfigMistake } from "../../core/config.ts";

/** Where to dial. */
export type Target = { readonly host: string; readonly port: number };

/**
 * Where hosts are dialled: `registry.test` or `*.test` (any subdomain, at any depth) to `host:port` or `[IPv6]:port`. An
 * exact name wins, then the longest suffix. The names that are verified and sent stay those of the URL.
 */
export type HostsTable = Readonly<Record<string, string>>;

const TARGET = /^(?:\[([0-9a-f:.]+)\]|([^:[\]\s]+)):([0-9]{1,5})$/i;

/**
 * Makes a lookup of a hosts table.
 *
 * @throws ConfigError if a target is not `host:port`
 */
export function parseHosts(table: HostsTable): (host: string) => Target | undefined {
  const targets = new Map<string, Target>();
  const mistakes: ConfigMistake[] = [];
  for (const [pattern, text] of Object.entries(table)) {
    const [, ipv6, name, port] = TARGET.exec(text) ?? [];
    const host = ipv6 ?? name;
    if (host === undefined || Number(port) > 65_535) mistakes.push({ path: `hosts.${pattern}`, expected: "host:port" });
    else targets.set(pattern.toLowerCase(), { host, port: Number(port) });
  }
  if (mistakes.length > 0) throw new ConfigError(mistakes);

  return (host) => {
    const exact = targets.get(host);
    if (exact !== undefined) return exact;
    const labels = host.split(".");
    for (let i = 1; i < labels.length; i++) {
      const found = targets.get(`*.${labels.slice(i).join(".")}`);
      if (found !== undefined) return found;
    }
    return;
  };
}
