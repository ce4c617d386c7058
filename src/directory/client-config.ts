import type { JsonValue } from "@bufbuild/protobuf";
import { z } from "zod";
import type { DirectoryEntry } from "../../gen/omi/directory/v1/directory_pb.ts";
import { isAtOrBelow, isDomain } from "../core/domain.ts";
import { Refusal } from "../core/refusal.ts";
import { parseEntry } from "./entry.ts";

/**
 * What every part of the mesh and every client is configured with to find the others. Directory entries stand in it in the
 * JSON form of their message.
 */
export const clientConfigSchema = z
  .strictObject({
    /** True: directory entries may have plain http URLs and addresses in private networks. Never for production. */
    development: z.boolean().default(false),
    /** Entries that win over what domains say of themselves. */
    directory: z.array(z.json()).max(1000).default([]),
    /**
     * Which address to dial for a host, as `host:port`, e.g. `{"*.test": "127.0.0.1:7100"}`; a `*` at the beginning stands
     * for one label or more. Names, certificates and signatures are checked as if the address were the host's own.
     */
    hosts: z.record(z.string(), z.string()).default({}),
    /** Domains that may be looked up beside those with an entry. Left out: any; empty: none. */
    allowedDomains: z.array(z.string().refine(isDomain, "a domain")).optional(),
  })
  .transform((config, context) => {
    const allowPlainHttp = () => config.development;
    const entries: DirectoryEntry[] = [];
    for (const [index, json] of config.directory.entries()) {
      const entry = entryOf(json, allowPlainHttp, (field, problem) => {
        context.addIssue({ code: "custom", path: ["directory", index, ...field], message: problem });
      });
      if (entry === undefined) continue;
      if (entries.some(({ domain }) => domain === entry.domain)) {
        context.addIssue({ code: "custom", path: ["directory", index, "domain"], message: "each domain once" });
      }
      entries.push(entry);
    }
    return { ...config, directory: entries };
  });

/** A configuration as {@link clientConfigSchema} reads it. */
export type ClientConfig = z.output<typeof clientConfigSchema>;

/**
 * Which hosts may be called over plain http: in development, those at or below the domain of a preset entry that itself has
 * plain http.
 */
export function plainHosts({ development, directory }: ClientConfig): (host: string) => boolean {
  const domains = directory.filter(({ baseUrl }) => baseUrl.startsWith("http:")).map(({ domain }) => domain);
  return (host) => development && domains.some((domain) => isAtOrBelow(host, domain));
}

/** Which hosts may be in a private network: in development, those at or below the domain of a preset entry. */
export function privateHosts({ development, directory }: ClientConfig): (host: string) => boolean {
  return (host) => development && directory.some(({ domain }) => isAtOrBelow(host, domain));
}

function entryOf(
  json: JsonValue,
  allowPlainHttp: (host: string) => boolean,
  report: (field: readonly string[], problem: string) => void,
): DirectoryEntry | undefined {
  try {
    return parseEntry(json, { from: "preset", allowPlainHttp });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const { field = "" } = error.metadata;
    report(field === "" ? [] : [field], error.message);
    return undefined;
  }
}
