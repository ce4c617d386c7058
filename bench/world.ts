import { create, toBinary } from "@bufbuild/protobuf";
import { ProvisionServiceSchema } from "../gen/omi/agent/v1/agent_pb.ts";
import { DirectoryEntrySchema, Party } from "../gen/omi/directory/v1/directory_pb.ts";
import { KeyAlgorithm, KeyRole } from "../gen/omi/key/v1/key_pb.ts";
import { AppManifestSchema } from "../gen/omi/registry/v1/app_pb.ts";
import { NamespaceClaimSchema } from "../gen/omi/registry/v1/namespace_pb.ts";
import { RotateKeyRequestSchema } from "../gen/omi/registry/v1/registry_service_pb.ts";
import {
  EndorsementSchema,
  KeyPossessionSchema,
  RotationSchema,
  ServiceBindingSchema,
} from "../gen/omi/registry/v1/service_pb.ts";
import { type Statement, StatementSchema } from "../gen/omi/statement/v1/statement_pb.ts";
import { appIdHash, formatAppId } from "../src/core/app-id.ts";
import { utf8 } from "../src/core/bytes.ts";
import { systemRandom } from "../src/core/random.ts";
import type { Directory } from "../src/directory/directory.ts";
import { createSigningKey, type SigningKey, sha256 } from "../src/statement/crypto.ts";
import { signStatement, statementId } from "../src/statement/statement.ts";

/** The registry of the measurements. */
export const registryDomain = "omi-registry.test";

const providerDomain = "article.cms.test";

/** The same in every process. */
const benchKey = (name: string): SigningKey => createSigningKey(sha256(utf8(`bench key ${name}`)));

export const registryKey: SigningKey = benchKey("registry");
const providerKey = benchKey("provider");

/** Knows one provider. */
export const benchDirectory: Directory = {
  lookup: async () =>
    create(DirectoryEntrySchema, {
      domain: providerDomain,
      party: Party.SERVICE_PROVIDER,
      baseUrl: `https://${providerDomain}`,
      keys: [{ publicKey: providerKey.publicKey, algorithm: KeyAlgorithm.ED25519 }],
    }),
};

/** What a registry has registered before a measurement: Statements in base64, in order. */
export interface WorldFile {
  readonly statements: readonly {
    readonly rpc: "claimNamespace" | "registerApp" | "bindService";
    readonly statement: string;
  }[];
}

/** An app with services. */
export interface World {
  readonly file: WorldFile;
  readonly appId: string;
  readonly services: readonly { readonly serviceId: string; readonly key: SigningKey }[];
}

const headerFor = (audience: string) => ({
  audience,
  timestamp: BigInt(Math.floor(Date.now() / 1000)),
  nonce: systemRandom(16),
});

/** Makes an app with services. Its Statements are good for five minutes. */
export function makeWorld(serviceCount: number): World {
  const master = benchKey("master");
  const header = headerFor(registryDomain);
  const claim = signStatement(
    NamespaceClaimSchema,
    { header, publicKey: master.publicKey, algorithm: KeyAlgorithm.ED25519, namespaceClaim: "bench" },
    master,
  );
  const manifest = signStatement(
    AppManifestSchema,
    { header: headerFor(registryDomain), ownerNamespace: "bench", projectSlug: "shop", displayName: "Shop" },
    master,
  );
  const hash = appIdHash(sha256(manifest.data));
  const appId = formatAppId({ registryDomain, namespace: "bench", slug: "shop", hash });
  const services = Array.from({ length: serviceCount }, (_, index) => {
    const serviceId = `cms-article-${index}`;
    return { serviceId, key: benchKey(serviceId) };
  });
  const encoded = (statement: Statement) => Buffer.from(toBinary(StatementSchema, statement)).toString("base64");
  return {
    appId,
    services,
    file: {
      statements: [
        { rpc: "claimNamespace", statement: encoded(claim) },
        { rpc: "registerApp", statement: encoded(manifest) },
        ...services.map(({ serviceId, key }) => ({
          rpc: "bindService" as const,
          statement: encoded(bindingOf(appId, serviceId, key, master)),
        })),
      ],
    },
  };
}

function bindingOf(appId: string, serviceId: string, key: SigningKey, master: SigningKey): Statement {
  const now = Math.floor(Date.now() / 1000);
  const order = signStatement(
    ProvisionServiceSchema,
    {
      header: headerFor(providerDomain),
      appId,
      targetProvider: providerDomain,
      providerKeyId: providerKey.keyId,
      serviceType: "cms-article",
      expiresAt: BigInt(now + 3600),
    },
    master,
  );
  const endpointUrl = `https://${serviceId}.${providerDomain}`;
  const common = { appId, serviceId, publicKey: key.publicKey };
  const endorsement = signStatement(
    EndorsementSchema,
    { header: headerFor(registryDomain), ...common, endpointUrl, proofId: statementId(order) },
    providerKey,
  );
  return signStatement(
    ServiceBindingSchema,
    {
      header: headerFor(registryDomain),
      ...common,
      serviceType: "cms-article",
      endpointUrl,
      developerProof: order,
      endorsement,
      keyPossession: possessionOf(appId, serviceId, key, ""),
    },
    key,
  );
}

function possessionOf(appId: string, serviceId: string, key: SigningKey, previousKeyId: string): Statement {
  const { publicKey } = key;
  const algorithm = KeyAlgorithm.ED25519;
  const message = { appId, serviceId, role: KeyRole.SERVICE, publicKey, algorithm, previousKeyId };
  return signStatement(KeyPossessionSchema, { header: headerFor(registryDomain), ...message }, key);
}

/** Makes rotations of the services' keys, each good after those of its service before it, and for five minutes. */
export function rotator({ appId, services }: World): (serviceId: string) => Statement {
  const current = new Map(services.map(({ serviceId, key }) => [serviceId, key]));
  return (serviceId) => {
    const key = current.get(serviceId);
    if (key === undefined) throw new RangeError("no such service");
    const next = createSigningKey(systemRandom(32));
    current.set(serviceId, next);
    return signStatement(
      RotationSchema,
      {
        header: headerFor(registryDomain),
        appId,
        serviceId,
        newPublicKey: next.publicKey,
        keyPossession: possessionOf(appId, serviceId, next, key.keyId),
        immediate: true,
        context: "key_rotation",
      },
      key,
    );
  };
}

/** RotateKey requests, in lanes: within a lane each builds on those before, and lanes have nothing to do with each other. */
export function rotationLanes(world: World, lanes: number, perService: number): Uint8Array[][] {
  const bodies = Array.from({ length: lanes }, (): Uint8Array[] => []);
  const rotate = rotator(world);
  for (let turn = 0; turn < perService; turn++) {
    for (const [index, { serviceId }] of world.services.entries()) {
      const request = create(RotateKeyRequestSchema, { statement: rotate(serviceId) });
      bodies[index % lanes]?.push(toBinary(RotateKeyRequestSchema, request));
    }
  }
  return bodies;
}
