import type { JsonValue } from "@bufbuild/protobuf";
import { z } from "zod";
import type { DirectoryEntry } from "../../gen/omi/directory/v1/directory_pb.ts";
import { alsoBesideOthers } from "../core/config.ts";
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
  .superRefine(
    (config, context) => {
      const { directory, development = false } = Object(config) as Partial<typeof config>; // it may be missing altogether
      if (!Array.isArray(directory)) return;
      const domains = new Set<string>();
      for (const [index, json] of directory.entries()) {
        const report = (field: readonly string[], message: string) =>
          context.addIssue({ code: "custom", path: ["directory", index, ...field], message });
        const entry = entryOf(json, development, report);
        if (entry === undefined) continue;
        if (domains.has(entry.domain)) report(["domain"], "each domain once");
        domains.add(entry.domain);
      }
    },
    { when: alsoBesideOthers },
  )
  .transform((config) => ({
    ...config,
    directory: config.directory.map((json) =>
      parseEntry(json, { from: "preset", allowPlainHttp: () => config.development }),
    ),
  }));

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
  development: boolean,
  report: (field: readonly string[], problem: string) => void,
): DirectoryEntry | undefined {
  try {
    return parseEntry(json, { from: "preset", allowPlainHttp: () => development });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const { field = "" } = error.metadata;
    report(field === "" ? [] : [field], error.message);
    return undefined;
  }
}
