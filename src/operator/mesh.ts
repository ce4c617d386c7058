import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { create, type JsonValue, toJson } from "@bufbuild/protobuf";
import { DirectoryEntrySchema, Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyAlgorithm, KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { loadConfig } from "../core/config.ts";
import type { Random } from "../core/random.ts";
import { clientConfigSchema } from "../directory/client-config.ts";
import type { SigningKey } from "../statement/crypto.ts";
import type { ProcessConfigFile } from "./config.ts";
import { loadOrMakeKey } from "./key.ts";

/** One process of a development mesh. */
export interface MeshMember {
  /** The name of its folder and of its log file. */
  readonly name: string;
  readonly domain: string;
  readonly party: Party;
  readonly port: number;
  /** The path of its configuration. */
  readonly configFile: string;
}

/** A development mesh on one machine: made-up domains under `.test`, plain http on loopback. */
export interface Mesh {
  readonly folder: string;
  readonly members: readonly MeshMember[];
  /** The configuration of clients: what the CLI reads. */
  readonly clientFile: string;
}

/** The domains of the mesh. */
export const meshDomains = {
  registry: "omi-registry.test",
  auth: "auth.test",
  articles: "article.cms.test",
  journal: "journal.test",
  billing: "billing.test",
} as const;

const plan = [
  { name: "registry", domain: meshDomains.registry, party: Party.REGISTRY },
  { name: "auth-provider", domain: meshDomains.auth, party: Party.AUTH_PROVIDER },
  { name: "cms-article", domain: meshDomains.articles, party: Party.SERVICE_PROVIDER },
  { name: "journal", domain: meshDomains.journal, party: Party.SERVICE_PROVIDER },
  { name: "billing", domain: meshDomains.billing, party: Party.BILLING_PROVIDER },
] as const;

/** How many ports a mesh needs. */
export const meshSize = plan.length;

/** What {@link prepareMesh} can be made to do differently. */
export interface MeshOptions {
  /** One port for each member. */
  ports: readonly number[];
  random: Random;
  /** How old a part's view of an app may be, in seconds. */
  viewMaxAgeSeconds?: number;
  /** `host:port` of a NATS server that carries the events. Left out: Watch does. */
  natsServer?: string;
  /** Further providers that all parts shall know, with their keys; nothing is started for them. */
  strangers?: readonly { domain: string; key: SigningKey; port: number }[];
}

/**
 * Makes, in a folder, all that a development mesh needs: keys, configurations, and the client configuration of the CLI.
 * Keys and data that are there stay, and so do the parties that somebody added to the client configuration: a vendor's own
 * provider joins the mesh by an entry there, which every part gets.
 *
 * @throws ConfigError if the client configuration that is there has mistakes
 */
export function prepareMesh(folder: string, options: MeshOptions): Mesh {
  const clientFile = join(folder, "omi.json");
  const added = addedParties(clientFile);
  const members = plan.map((member, index) => {
    const port = options.ports[index];
    if (port === undefined) throw new RangeError(`a mesh needs ${meshSize} ports`);
    mkdirSync(join(folder, member.name), { recursive: true, mode: 0o700 });
    return { ...member, port, configFile: join(folder, member.name, "config.json") };
  });
  const keys = members.map((member) => {
    const role = member.party === Party.REGISTRY ? KeyRole.REGISTRY : KeyRole.PROVIDER;
    return loadOrMakeKey(join(folder, member.name, "key.json"), role, options.random);
  });
  const known = [
    ...members.map((member, index) => ({ ...member, key: keys[index] as SigningKey })),
    ...(options.strangers ?? []).map((stranger) => ({ ...stranger, party: Party.SERVICE_PROVIDER })),
  ];
  const client = {
    development: true,
    directory: [...known.map(({ domain, party, key }) => directoryEntry(domain, party, key)), ...added.directory],
    hosts: {
      ...added.hosts,
      ...Object.fromEntries(
        known.flatMap(({ domain, port }) => [
          [domain, `127.0.0.1:${port}`],
          [`*.${domain}`, `127.0.0.1:${port}`],
        ]),
      ),
    },
  };
  for (const member of members) {
    writeJson(member.configFile, processConfig(member, client, options));
  }
  writeJson(clientFile, client);
  return { folder, members, clientFile };
}

/** What a client configuration says beyond the members of the mesh. */
function addedParties(clientFile: string): { directory: JsonValue[]; hosts: Record<string, string> } {
  if (!existsSync(clientFile)) return { directory: [], hosts: {} };
  const { directory, hosts } = loadConfig(clientConfigSchema, { file: clientFile, env: {}, prefix: "OMI_" });
  const isMember = (domain: string) => plan.some((member) => member.domain === domain);
  return {
    directory: directory.filter(({ domain }) => !isMember(domain)).map((entry) => toJson(DirectoryEntrySchema, entry)),
    hosts: Object.fromEntries(Object.entries(hosts).filter(([host]) => !isMember(host.replace(/^\*\./, "")))),
  };
}

function processConfig(
  member: MeshMember,
  mesh: ProcessConfigFile["mesh"],
  { viewMaxAgeSeconds, natsServer }: MeshOptions,
): ProcessConfigFile {
  const { domain } = member;
  const provider = { domain, keyFile: "key.json", baseUrl: `http://${domain}` };
  const common = {
    mesh,
    server: { port: member.port, cors: { allowedOrigins: ["*"] }, stopGraceSeconds: 3 },
    ...(viewMaxAgeSeconds === undefined ? {} : { viewMaxAgeSeconds }),
    ...(natsServer === undefined ? {} : { events: { nats: { servers: [natsServer] } } }),
  };
  switch (member.party) {
    case Party.REGISTRY:
      return { ...common, registry: { domain, databaseFile: "registry.db", keys: [{ file: "key.json" }] } };
    case Party.AUTH_PROVIDER:
      return { ...common, authProvider: { ...provider, databaseFile: "auth.db", signUp: "open" } };
    case Party.BILLING_PROVIDER:
      return { ...common, billing: { ...provider, databaseFile: "billing.db" } };
    default:
      return {
        ...common,
        cmsArticle: { ...provider, agentDatabaseFile: "agent.db", articleDatabaseFile: "articles.db" },
      };
  }
}

function directoryEntry(domain: string, party: Party, key: SigningKey): JsonValue {
  const entry = create(DirectoryEntrySchema, {
    domain,
    party,
    baseUrl: `http://${domain}`,
    keys: [{ publicKey: key.publicKey, algorithm: KeyAlgorithm.ED25519 }],
  });
  return toJson(DirectoryEntrySchema, entry);
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(path, `${JSON.stringify(value, undefined, 2)}\n`, { mode: 0o600 });
}
