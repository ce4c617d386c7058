import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { ProvisionServiceSchema } from "../../gen/omi/agent/v1/agent_pb.ts";
import { type AuthProvisioned, AuthProvisionedSchema } from "../../gen/omi/auth/v1/auth_pb.ts";
import { KeyAlgorithm, KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { KeyPossessionSchema } from "../../gen/omi/registry/v1/service_pb.ts";
import { type Statement, StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { toBase64Url } from "../../src/core/bytes.ts";
import { openAnswer, openRequest, signStatement, statementId, verifySignature } from "../../src/statement/statement.ts";
import { headerAt, present, registerTestApp, type TestApp } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testKey, testNonce } from "../support/keys.ts";
import { providers, registryDomain, startRegistry } from "../support/registry.ts";
import {
  announce,
  announceAnswer,
  outcomeOf,
  provision,
  provisionOf,
  type RunningProvider,
  startMesh,
  startProvider,
  terminateOf,
} from "./support.ts";

const { domain, key: providerKey } = providers.auth;

function keysOf({ authPublicKey, servicePublicKey }: AuthProvisioned): string[] {
  return [toBase64Url(authPublicKey), toBase64Url(servicePublicKey)];
}

/** The key set that the provider publishes for an app: key IDs. */
async function publishedKeys({ url }: RunningProvider, { appId }: TestApp): Promise<string[]> {
  const response = await fetch(`${url}/apps/${appId}/.well-known/jwks.json`);
  expect(response.status).toBe(200);
  const { keys } = (await response.json()) as { keys: { x: string }[] };
  return keys.map(({ x }) => x).sort();
}

test("answers with two keys, proofs that it holds them, and its URL", async () => {
  const { provider, app } = await startMesh();
  const order = provisionOf(provider, app);
  const { answer, message } = await provision(provider, order);

  const opened = openAnswer(AuthProvisionedSchema, answer);
  await verifySignature(opened, providerKey.publicKey);
  expect(opened.header.inReplyTo).toEqual(statementId(order));
  expect(message.appId).toBe(app.appId);
  expect(message.authProviderUrl).toBe(`http://${domain}/apps/${app.appId}`);
  const proofs: [Statement | undefined, Uint8Array, KeyRole][] = [
    [message.authKeyPossession, message.authPublicKey, KeyRole.AUTH],
    [message.serviceKeyPossession, message.servicePublicKey, KeyRole.SERVICE],
  ];
  for (const [proof, publicKey, role] of proofs) {
    const possession = openRequest(KeyPossessionSchema, present(proof));
    await verifySignature(possession, publicKey);
    expect(possession.header.audience).toBe(registryDomain);
    expect(possession.message).toMatchObject({ appId: app.appId, serviceId: "auth", role, previousKeyId: "" });
    expect(possession.message.algorithm).toBe(KeyAlgorithm.ED25519);
    expect(possession.message.publicKey).toEqual(publicKey);
  }
});

test("the registry takes the announcement of the answer", async () => {
  const { provider, app } = await startMesh();
  await announce(provider, app);
});

test("each app has keys of its own", async () => {
  const { registry, provider, app } = await startMesh();
  const other = await registerTestApp(registry);
  const { message: first } = await provision(provider, provisionOf(provider, app));
  const { message: second } = await provision(provider, provisionOf(provider, other));
  expect(new Set([...keysOf(first), ...keysOf(second)]).size).toBe(4);
});

type Case = [what: string, order: (provider: RunningProvider, app: TestApp) => Statement | undefined, outcome: string];

const refused: Case[] = [
  ["no statement", () => undefined, "FIELD_INVALID statement required"],
  [
    "another version",
    (provider, app) => ({ ...provisionOf(provider, app), version: "2.0" }),
    "VERSION_UNSUPPORTED statement",
  ],
  [
    "a signature made for another RPC",
    ({ clock }, { appId, master }) =>
      signStatement(
        ProvisionServiceSchema,
        {
          header: headerAt(clock, domain),
          appId,
          targetProvider: domain,
          providerKeyId: providerKey.keyId,
          serviceType: "auth-provider",
          expiresAt: BigInt(clock.seconds() + 60),
        },
        master,
      ),
    "TYPE_MISMATCH statement",
  ],
  [
    "another RPC's type around our bytes",
    (provider, app) => ({ ...provisionOf(provider, app), type: ProvisionServiceSchema.typeName }),
    "TYPE_MISMATCH statement",
  ],
  [
    "bytes that are no message",
    (provider, app) => ({ ...provisionOf(provider, app), data: Uint8Array.of(255) }),
    "MALFORMED statement",
  ],
  [
    "an unknown field",
    (provider, app) => {
      const order = provisionOf(provider, app);
      return { ...order, data: Uint8Array.of(...order.data, 0x78, 1) };
    },
    "UNKNOWN_FIELD 15",
  ],
  [
    "bytes in another order",
    (provider, app) => {
      const order = provisionOf(provider, app);
      return { ...order, data: Uint8Array.of(...order.data, 0x12, 0) };
    },
    "NOT_CANONICAL statement",
  ],
  [
    "a statement that is too large",
    (provider, app) => ({ ...provisionOf(provider, app), data: new Uint8Array(65_537) }),
    "TOO_LARGE statement",
  ],
  ["no AppID", (provider, app) => provisionOf(provider, app, { appId: "shop" }), "FIELD_INVALID app_id format"],
  [
    "a nonce that is too short",
    (provider, app) => provisionOf(provider, app, { header: { nonce: new Uint8Array(8).fill(1) } }),
    "FIELD_INVALID header.nonce min_length",
  ],
  [
    "another provider as audience",
    (provider, app) => provisionOf(provider, app, { header: { audience: providers.article.domain } }),
    "AUDIENCE_MISMATCH header.audience",
  ],
  [
    "the registry as audience",
    (provider, app) => provisionOf(provider, app, { header: { audience: registryDomain } }),
    "AUDIENCE_MISMATCH header.audience",
  ],
  [
    "an app that the registry doesn't know",
    (provider, app) => provisionOf(provider, app, { appId: app.appId.replace(/.{6}$/, "000000") }),
    "APP_UNKNOWN",
  ],
  [
    "a registry that can't be found",
    (provider, app) => provisionOf(provider, app, { appId: app.appId.replace(/^test\./, "example.") }),
    "REGISTRY_UNAVAILABLE",
  ],
  [
    "a signer that nobody knows",
    (provider, app) => provisionOf(provider, app, { signer: testKey("stranger") }),
    "SIGNER_UNKNOWN header.signer",
  ],
  [
    "the Provider key as signer",
    (provider, app) => provisionOf(provider, app, { signer: providerKey }),
    "SIGNER_NOT_AUTHORIZED header.signer",
  ],
  [
    "a signature that doesn't verify",
    (provider, app) => ({ ...provisionOf(provider, app), signature: new Uint8Array(64).fill(1) }),
    "SIGNATURE_INVALID statement",
  ],
  [
    "a timestamp 301 s ago",
    (provider, app) => provisionOf(provider, app, { header: { timestamp: BigInt(provider.clock.seconds() - 301) } }),
    "TIMESTAMP_TOO_OLD header.timestamp",
  ],
  [
    "a timestamp 301 s ahead",
    (provider, app) => provisionOf(provider, app, { header: { timestamp: BigInt(provider.clock.seconds() + 301) } }),
    "TIMESTAMP_IN_FUTURE header.timestamp",
  ],
];

describe("refuses", () => {
  test.each(refused)("%s", async (_what, order, outcome) => {
    const { provider, app } = await startMesh();
    const statement = order(provider, app);
    const request = statement === undefined ? {} : { statement: create(StatementSchema, statement) };
    expect(await outcomeOf(provider.auth.provisionAuth(request))).toBe(outcome);
    // Nothing was made.
    expect((await fetch(`${provider.url}/apps/${app.appId}/.well-known/jwks.json`)).status).toBe(404);
  });

  test("another developer's Master key", async () => {
    const { registry, provider, app } = await startMesh();
    const other = await registerTestApp(registry);
    const order = provisionOf(provider, app, { signer: other.master });
    expect(await outcomeOf(provider.auth.provisionAuth({ statement: order }))).toBe("SIGNER_UNKNOWN header.signer");
  });

  test("when the registry doesn't answer, and accepts the same bytes later", async () => {
    const folder = temporaryFolder();
    const registry = await startRegistry({ databaseFile: `${folder}/registry.db` });
    const { clock } = registry;
    const app = await registerTestApp(registry);
    const provider = await startProvider(registry, { databaseFile: `${folder}/auth.db` });
    const order = provisionOf(provider, app);
    await registry.stop();
    expect(await outcomeOf(provider.auth.provisionAuth({ statement: order }))).toBe("REGISTRY_UNAVAILABLE");
    await provider.stop();
    const back = await startRegistry({ databaseFile: `${folder}/registry.db`, clock });
    const again = await startProvider(back, { databaseFile: `${folder}/auth.db` });
    expect(await outcomeOf(again.auth.provisionAuth({ statement: order }))).toBe("ok");
  });

  test("when the registry's answer is signed by a key that it isn't trusted for", async () => {
    const registry = await startRegistry();
    const app = await registerTestApp(registry);
    const provider = await startProvider(registry, {}, testKey("another registry"));
    const call = provider.auth.provisionAuth({ statement: provisionOf(provider, app) });
    expect(await outcomeOf(call)).toMatch(/^ANSWER_INVALID/);
  });

  test("a nonce that was used in another statement, at once", async () => {
    const { registry, provider, app } = await startMesh();
    const nonce = testNonce();
    await provision(provider, provisionOf(provider, app, { header: { nonce } }));
    provider.clock.advance(1);
    const other = provisionOf(provider, app, { header: { nonce } });
    expect(await outcomeOf(provider.auth.provisionAuth({ statement: other }))).toBe("NONCE_REUSED header.nonce");
    // Another signer's nonces are their own.
    const stranger = await registerTestApp(registry);
    await provision(provider, provisionOf(provider, stranger, { header: { nonce } }));
  });

  test("an order after the tenant's termination, the first one again included", async () => {
    const { provider, app } = await startMesh();
    const order = provisionOf(provider, app);
    await provision(provider, order);
    await provider.tenancy.terminateService({ statement: terminateOf(provider, app) });
    for (const statement of [order, provisionOf(provider, app)]) {
      expect(await outcomeOf(provider.auth.provisionAuth({ statement }))).toBe("PROVIDER_REFUSED app_id");
    }
    provider.clock.advance(7200);
    expect(await outcomeOf(provider.auth.provisionAuth({ statement: order }))).toBe("PROVIDER_REFUSED app_id");
  });
});

describe("the same bytes again", () => {
  test("give the same keys with new proofs, also hours later", async () => {
    const { provider, app } = await startMesh();
    const order = provisionOf(provider, app);
    const first = await provision(provider, order);
    for (const seconds of [0, 200, 7200]) {
      provider.clock.advance(seconds);
      const again = await provision(provider, order);
      expect(keysOf(again.message)).toEqual(keysOf(first.message));
      const proof = openRequest(KeyPossessionSchema, present(again.message.authKeyPossession));
      expect(proof.header.timestamp).toBe(BigInt(provider.clock.seconds()));
    }
    // What comes late is still good for an announcement.
    await announceAnswer(provider, app, (await provision(provider, order)).answer);
  });

  test("give the same keys after the database was opened again", async () => {
    const databaseFile = `${temporaryFolder()}/auth.db`;
    const { registry, provider, app } = await startMesh({ databaseFile });
    const order = provisionOf(provider, app);
    const first = await provision(provider, order);
    await provider.stop();
    provider.clock.advance(7200);
    const reopened = await startProvider(registry, { databaseFile });
    expect(keysOf((await provision(reopened, order)).message)).toEqual(keysOf(first.message));
  });

  test("give the same keys after others took their place", async () => {
    const { provider, app } = await startMesh();
    const order = provisionOf(provider, app);
    const first = await provision(provider, order);
    await announceAnswer(provider, app, first.answer);
    await announce(provider, app);
    expect(keysOf((await provision(provider, order)).message)).toEqual(keysOf(first.message));
  });

  test("sent twice at the same time make one pair", async () => {
    const { provider, app } = await startMesh();
    const order = provisionOf(provider, app);
    const [a, b] = await Promise.all([provision(provider, order), provision(provider, order)]);
    expect(keysOf(a.message)).toEqual(keysOf(b.message));
  });
});

describe("another order", () => {
  test("gives the same keys until they are announced, then new ones beside them", async () => {
    const { provider, app } = await startMesh();
    const first = await provision(provider, provisionOf(provider, app));
    const second = await provision(provider, provisionOf(provider, app));
    expect(keysOf(second.message)).toEqual(keysOf(first.message));
    await announceAnswer(provider, app, first.answer);
    const third = await provision(provider, provisionOf(provider, app));
    const fourth = await provision(provider, provisionOf(provider, app));
    expect(keysOf(third.message)).not.toEqual(keysOf(first.message));
    expect(keysOf(fourth.message)).toEqual(keysOf(third.message));
    // Both are published: the one that signs, and the one that will.
    const keys = [first, third].map(({ message }) => toBase64Url(message.authPublicKey)).sort();
    expect(await publishedKeys(provider, app)).toEqual(keys);
  });

  test("gives new keys after a change of the app that may have been their announcement", async () => {
    const { provider, app } = await startMesh();
    const first = await provision(provider, provisionOf(provider, app));
    await announceAnswer(provider, app, first.answer);
    // Within one provider the old key stays valid for as long as a token lives; then it is gone.
    const second = await announce(provider, app);
    provider.clock.advance(901);
    const third = await provision(provider, provisionOf(provider, app));
    expect(keysOf(third.message)).not.toEqual(keysOf(first.message));
    expect(keysOf(third.message)).not.toEqual(keysOf(second));
    const keys = [second, third.message].map(({ authPublicKey }) => toBase64Url(authPublicKey)).sort();
    expect(await publishedKeys(provider, app)).toEqual(keys);
  });
});
