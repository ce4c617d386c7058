import { z } from "zod";
import { ActivationPolicy } from "../../gen/omi/registry/v1/registry_pb.ts";
import { fromBase64Url } from "../core/bytes.ts";
import { alsoBesideOthers } from "../core/config.ts";
import { isAtOrBelow, isDomain } from "../core/domain.ts";
import { parseUrl } from "../core/url.ts";
import { clientConfigSchema } from "../directory/client-config.ts";
import { isNetwork } from "../rpc/http/trusted-proxies.ts";
import { publicKeyProblem } from "../statement/crypto.ts";
import { eventsSchema } from "./events.ts";

const domain = z.string().refine(isDomain, "a domain, lower case and without port");
const seconds = z.number().int().min(0);
const path = z.string().min(1, "a path");
const port = z.number().int().min(0).max(65_535);

const serverSchema = z.strictObject({
  /** The address to listen on. */
  host: z.string().default("127.0.0.1"),
  /** The port; 0 for any free one. */
  port,
  /** PEM files. Left out: no TLS, which only a development configuration may say. */
  tls: z.strictObject({ certFile: path, keyFile: path }).optional(),
  /**
   * The proxies in front, as addresses or networks (`10.0.0.0/8`): calls through them count as their callers' own, as
   * `Forwarded` or `X-Forwarded-For` says. List none that does not set that header itself.
   */
  trustedProxies: z
    .array(z.string().refine(isNetwork, "an IP address or a network, e.g. 10.0.0.0/8"))
    .max(256)
    .default([]),
  /** Web origins whose pages may call, e.g. `https://shop.example`; `*` for any. Left out: none. */
  cors: z.strictObject({ allowedOrigins: z.array(z.string()) }).optional(),
  /** What each bounds, and what it is if left out, says `Limits` in `src/rpc/call/limits.ts`. */
  limits: z
    .strictObject({
      maxMessageBytes: z.number().int().min(1024).optional(),
      maxHeaderBytes: z.number().int().min(1024).optional(),
      maxConnections: z.number().int().min(1).optional(),
      maxStreamsPerConnection: z.number().int().min(1).optional(),
      maxStreams: z.number().int().min(1).optional(),
      maxStreamsPerPeer: z.number().int().min(1).optional(),
      maxDeadlineMs: z.number().int().min(1).optional(),
      firstBytesTimeoutMs: z.number().int().min(1).optional(),
      idleTimeoutMs: z.number().int().min(1).optional(),
    })
    .default({}),
  /** How long calls under way may take when the process is told to stop. */
  stopGraceSeconds: z.number().min(0).default(10),
});

const registryKeySchema = z
  .strictObject({
    file: path.optional(),
    publicKey: z.string().refine(isPublicKey, "a public key, base64url").optional(),
    notBefore: seconds.default(0),
    notAfter: seconds.default(0),
  })
  .refine(({ file, publicKey }) => (file === undefined) !== (publicKey === undefined), "either file or publicKey")
  .refine(({ publicKey, notAfter }) => publicKey === undefined || notAfter > 0, {
    path: ["notAfter"],
    message: "when the key has ended, as it can't sign any more",
  });

function isPublicKey(text: string): boolean {
  const bytes = fromBase64Url(text);
  return bytes !== undefined && publicKeyProblem(bytes) === undefined;
}

const registrySchema = z.strictObject({
  domain,
  databaseFile: path,
  /**
   * The first key that is valid signs. A new one is listed behind the old one first, so that clients can follow. Of one that
   * has ended `publicKey` (base64url) is enough instead of `file`: what it signed is still read.
   */
  keys: z.array(registryKeySchema).min(1).max(16),
  /** What the registry says of itself: `RegistryAnswer` in `proto/omi/registry/v1/registry.proto` has the meanings. */
  policy: z
    .strictObject({
      freshnessWindowSeconds: seconds.min(1).optional(),
      defaultGracePeriodSeconds: seconds.optional(),
      minGracePeriodSeconds: seconds.optional(),
      maxGracePeriodSeconds: seconds.optional(),
      maxTokenLifeSeconds: seconds.optional(),
    })
    .default({}),
  /** The port that readers share, see `omi serve --reader`; 0 for any free one. */
  readerPort: port.optional(),
  /** `open`, or `code`: a code goes to the contact of a namespace; in development into `codeFile`. */
  activation: z
    .discriminatedUnion("policy", [
      z.strictObject({ policy: z.literal("open") }),
      z.strictObject({
        policy: z.literal("code"),
        codeFile: path,
        /** How many codes are sent an hour, by all callers together. Those of one source or to one contact are fewer. */
        maxCodesPerHour: z.number().int().min(1).default(1000),
      }),
    ])
    .default({ policy: "open" }),
});

const providerSettings = {
  domain,
  /** The Provider key. */
  keyFile: path,
  /** Where the part is reached from outside: a URL at or below its domain. */
  baseUrl: z.string(),
};

const authProviderSchema = z.strictObject({
  ...providerSettings,
  databaseFile: path,
  /** Whether strangers may make accounts. */
  signUp: z.enum(["open", "closed"]).default("closed"),
  /** How long access tokens live, at most 900. */
  tokenLifeSeconds: z.number().int().min(1).max(900).default(900),
});

const cmsArticleSchema = z.strictObject({
  ...providerSettings,
  agentDatabaseFile: path,
  articleDatabaseFile: path,
  /** Rotates every Service key by itself. Left out: only when asked to. */
  rotation: z.strictObject({ everySeconds: z.number().int().min(60) }).optional(),
});

const billingSchema = z.strictObject({ ...providerSettings, databaseFile: path });

const providerParts = ["authProvider", "billing", "cmsArticle"];

/** The configuration of one process, which runs one part. Paths are relative to the file's folder. */
export const processConfigSchema = z
  .strictObject({
    /** How to find the other parts; the same settings that the CLI reads. */
    mesh: clientConfigSchema,
    log: z
      .strictObject({ level: z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]).default("info") })
      .default({ level: "info" }),
    server: serverSchema,
    events: eventsSchema.optional(),
    /** How old a part's view of an app, or the signed head that confirms it, may be when it decides something, in seconds. */
    viewMaxAgeSeconds: z.number().min(0.1).max(10).default(10),
    /** Where a part remembers which registry keys it trusts. */
    pinFile: path.optional(),
    registry: registrySchema.optional(),
    authProvider: authProviderSchema.optional(),
    billing: billingSchema.optional(),
    cmsArticle: cmsArticleSchema.optional(),
  })
  .superRefine(reportMistakesBetweenSettings, { when: alsoBesideOthers });

/** What a setting demands of another one. The configuration may have mistakes, so any of it may be missing or have another form. */
function reportMistakesBetweenSettings(config: object, context: z.RefinementCtx): void {
  const report = (path: string[], message: string) => context.addIssue({ code: "custom", path, message });
  const at = (...path: string[]) =>
    path.reduce<unknown>((value, name) => (isObject(value) ? value[name] : undefined), config);
  const isDevelopment = at("mesh", "development") === true;
  if (["registry", ...providerParts].filter((part) => at(part) !== undefined).length !== 1) {
    report([], "exactly one of registry, authProvider, billing and cmsArticle");
  }
  if (isObject(at("events", "nats")) && at("events", "nats", "tls") === undefined && !isDevelopment) {
    report(["events", "nats", "tls"], "an object, as only a development configuration may reach NATS without TLS");
  }
  if (isObject(at("server")) && at("server", "tls") === undefined && !isDevelopment) {
    report(["server", "tls"], "certFile and keyFile, as only a development configuration may serve without TLS");
  }
  for (const part of providerParts) {
    const [domain, baseUrl] = [at(part, "domain"), at(part, "baseUrl")];
    if (typeof domain !== "string" || typeof baseUrl !== "string") continue;
    const host = parseUrl(baseUrl, () => isDevelopment)?.host;
    if (host !== undefined && isAtOrBelow(host, domain)) continue;
    report([part, "baseUrl"], "an https URL at or below the domain, http only in a development configuration");
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

/** A configuration that was checked. */
export type ProcessConfig = z.output<typeof processConfigSchema>;
/** A configuration as it is written. */
export type ProcessConfigFile = z.input<typeof processConfigSchema>;

/** The policy behind its name in the configuration. */
export function activationPolicyOf(name: "open" | "code"): ActivationPolicy {
  return name === "open" ? ActivationPolicy.OPEN : ActivationPolicy.CODE;
}
