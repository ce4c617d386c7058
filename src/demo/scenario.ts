import { create } from "@bufbuild/protobuf";
import { createClient, type Interceptor } from "@connectrpc/connect";
import { DataHandling, TerminationReceiptSchema, TerminationStatus } from "../../gen/omi/agent/v1/agent_pb.ts";
import { ProvisionAuthSchema } from "../../gen/omi/auth/v1/auth_pb.ts";
import { AuthProviderService, UserService } from "../../gen/omi/auth/v1/auth_service_pb.ts";
import { AccountStatus, type Bill } from "../../gen/omi/billing/v1/billing_service_pb.ts";
import { OperationalRole } from "../../gen/omi/registry/v1/app_pb.ts";
import { type Service, ServiceStatus, UnbindSchema } from "../../gen/omi/registry/v1/service_pb.ts";
import { ArticleService } from "../../gen/omi/sample/article/v1/article_service_pb.ts";
import { StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { systemClock } from "../core/clock.ts";
import { systemRandom } from "../core/random.ts";
import { isRefusal, Reason } from "../core/refusal.ts";
import { createDeveloper, type Developer } from "../developer/developer.ts";
import type { Connections } from "../directory/connections.ts";
import { meshDomains } from "../operator/mesh.ts";
import { createTransport } from "../rpc/client/client.ts";
import type { SigningKey } from "../statement/crypto.ts";
import { keyIdOf } from "../statement/key-id.ts";
import type { Narrator } from "./narrator.ts";
import { newKey, signBinding, signFor, signOrder, signRotation } from "./vendor.ts";

/** Who takes part beside the processes. */
export interface Cast {
  connections: Connections;
  narrator: Narrator;
  /** A provider whose key the demonstration holds: a vendor without our agent, and a thief. */
  stranger: { domain: string; key: SigningKey };
}

interface Stage extends Cast {
  developer: Developer;
  master: SigningKey;
  appId: string;
}

const { registry, auth, articles, journal, billing } = meshDomains;
const password = "correct horse battery staple";

/** Plays the four workflows, and what must be refused on the way. */
export async function playScenario(cast: Cast): Promise<void> {
  const master = newKey();
  await nameKeys(cast, master);
  const developer = createDeveloper({
    masterKey: master,
    connections: cast.connections,
    clock: systemClock,
    random: systemRandom,
    onStep: cast.narrator.step,
  });
  const appId = await registerApp(cast, developer);
  const stage = { ...cast, developer, master, appId };
  await provisionTrustAnchor(stage);
  await provisionServices(stage);
  await serveUsers(stage);
  await rotateKeys(stage);
  await resetByMaster(stage);
  await decommission(stage);
  await readLog(stage);
}

async function nameKeys({ connections, narrator }: Cast, master: SigningKey): Promise<void> {
  narrator.name(master.keyId, "her Master key");
  for (const domain of [registry, auth, articles, journal, billing]) {
    const { keys } = await connections.directory.lookup(domain);
    const role = domain === registry ? "Registry key" : "Provider key";
    for (const { publicKey } of keys) narrator.name(keyIdOf(publicKey), `the ${role} of ${domain}`);
  }
}

async function registerApp({ narrator, connections }: Cast, developer: Developer): Promise<string> {
  narrator.chapter("Before the workflows: a namespace and an app");
  await developer.claimNamespace({ registry, namespace: "alice", contactEmail: "alice@example.org" });
  const thief = createDeveloper({ masterKey: newKey(), connections, clock: systemClock, random: systemRandom });
  await narrator.refused("somebody else claims the same namespace", Reason.NAMESPACE_TAKEN, () =>
    thief.claimNamespace({ registry, namespace: "alice" }),
  );
  const app = await developer.registerApp({
    registry,
    namespace: "alice",
    slug: "business_app",
    displayName: "Business App",
  });
  narrator.expect(`the app is ${app.appId}`, app.appId.startsWith("test.omi-registry.alice.business_app."));
  const services = [
    { role: OperationalRole.BILLING, name: "bills", url: `http://${billing}` },
    { role: OperationalRole.LOGGING, name: "logs", url: `http://${journal}/otlp` },
  ];
  const configured = await developer.updateBackbone({ appId: app.appId, services });
  narrator.expect(
    `the backbone is set, with ${billing} for the bills: config epoch 1`,
    configured.context?.configEpoch === 1n,
  );
  return app.appId;
}

async function provisionTrustAnchor({ narrator, connections, developer, master, appId }: Stage): Promise<void> {
  narrator.chapter("Workflow 1: the trust anchor");
  const transport = await connections.transportFor(auth);
  const provider = createClient(AuthProviderService, transport);
  const nonce = systemRandom(16);
  const order = signFor(auth, ProvisionAuthSchema, { appId }, master, nonce);

  const forged = create(StatementSchema, { ...order, signature: newKey().sign(order.data) });
  await narrator.refused("an order with a wrong signature", Reason.SIGNATURE_INVALID, () =>
    provider.provisionAuth({ statement: forged }),
  );
  await narrator.refused("an order for alice's app, signed by somebody else", Reason.SIGNER_UNKNOWN, () =>
    provider.provisionAuth({ statement: signFor(auth, ProvisionAuthSchema, { appId }, newKey()) }),
  );
  await provider.provisionAuth({ statement: order });
  await seconds(1.1); // the next second: the same nonce in other bytes
  const replayed = signFor(auth, ProvisionAuthSchema, { appId }, master, nonce);
  await narrator.refused("another order with a nonce that was used", Reason.NONCE_REUSED, () =>
    provider.provisionAuth({ statement: replayed }),
  );

  const app = await developer.provisionAuth({ appId, provider: auth });
  narrator.expect(
    `${auth} is the app's User Validator, one Auth key`,
    app.context?.authProvider === auth && app.context.authKeys.length === 1,
  );
}

async function provisionServices({ narrator, connections, developer, master, appId, stranger }: Stage): Promise<void> {
  narrator.chapter("Workflow 2: domain services of two providers");
  const bound = await developer.provisionService({
    appId,
    provider: articles,
    serviceType: "cms-article",
    serviceId: "cms-article-77",
    region: "eu-central-1",
  });
  narrator.expect(`cms-article-77 is bound, at ${bound.endpointUrl}`, bound.status === ServiceStatus.ACTIVE);
  const other = await developer.provisionService({
    appId,
    provider: journal,
    serviceType: "cms-article",
    serviceId: "journal",
  });
  narrator.expect(`journal is bound, at ${other.endpointUrl}`, other.status === ServiceStatus.ACTIVE);

  narrator.say("A thief sees an order to article.cms.test, and tries to bind a key of their own with it:");
  const client = connections.registries.forDomain(registry);
  const [articlesKey] = (await connections.directory.lookup(articles)).keys;
  const target = { registry, appId, serviceId: "stolen" };
  const keyId = keyIdOf(articlesKey?.publicKey ?? new Uint8Array());
  const order = signOrder(target, { domain: articles, keyId }, master);
  const theft = signBinding(target, order, newKey(), stranger.key, `http://stolen.${articles}`);
  await narrator.refused("a stolen proof, endorsed by the thief", Reason.TARGET_MISMATCH, () =>
    client.bindService(theft),
  );

  narrator.say(`A vendor without our agent, ${stranger.domain}, binds by hand:`);
  const service = { registry, appId, serviceId: "handmade" };
  const proof = signOrder(service, { domain: stranger.domain, keyId: stranger.key.keyId }, master);
  const endpoint = `http://api.${stranger.domain}`;
  const key = newKey();
  const binding = signBinding(service, proof, key, stranger.key, endpoint);
  const first = await client.bindService(binding);
  narrator.expect("handmade is bound", first.value.service.status === ServiceStatus.ACTIVE);
  const again = await client.bindService(binding);
  narrator.expect(
    "the same bytes again: the same answer, nothing happens twice",
    again.header.appSequence === first.header.appSequence,
  );
  const second = signBinding(service, proof, newKey(), stranger.key, endpoint);
  await narrator.refused("the same proof for another key, endorsed rightly", Reason.PROOF_USED, () =>
    client.bindService(second),
  );

  narrator.say("It rotates its key with a second of grace:");
  const next = newKey();
  await client.rotateKey(signRotation(service, key, next, 1));
  narrator.expect("two keys count in grace", (await keysOf(connections, appId, "handmade")).length === 2);
  await seconds(2.1);
  narrator.expect("one key counts after it", (await keysOf(connections, appId, "handmade")).join() === next.keyId);
  await narrator.refused("a rotation signed by the old key after grace", Reason.KEY_NOT_CURRENT, () =>
    client.rotateKey(signRotation(service, key, newKey(), 1)),
  );
}

async function serveUsers(stage: Stage): Promise<void> {
  const { narrator, connections, appId } = stage;
  narrator.chapter("The app works: a user signs in and is served by services that verify the token themselves");
  const users = createClient(UserService, await connections.transportFor(auth));
  await users.signUp({ appId, userName: "bob", password });
  await narrator.refused("a sign-in with a wrong password", Reason.CREDENTIALS_INVALID, () =>
    users.signIn({ appId, userName: "bob", password: "wrong", serviceId: "journal" }),
  );
  const bob = await asUser(stage, "cms-article-77");
  await bob.createArticle({ title: "Trust without handing over control", body: "…" });
  const { articles: list } = await bob.listArticles({});
  narrator.expect(`bob's article is stored: "${list[0]?.title}"`, list.length === 1);
  const bill = await billWhen(stage, "cms-article-77", ({ reports }) => reports > 0n);
  narrator.expect(`the bill of cms-article-77 at ${billing}: ${totalOf(bill)} article stored`, totalOf(bill) === 1n);
  const nobody = articleClient(connections, (await recordOf(connections, appId, "cms-article-77")).endpointUrl, "");
  await narrator.refused("a call without a token", Reason.TOKEN_MISSING, () => nobody.listArticles({}));
  const misled = await asUser(stage, "journal", "cms-article-77");
  await narrator.refused("the token for cms-article-77 at journal", Reason.TENANT_UNKNOWN, () =>
    misled.listArticles({}),
  );
  const { tokens } = await users.signIn({ appId, userName: "bob", password, serviceId: "cms-article-77" });
  const { endpointUrl } = await recordOf(connections, appId, "cms-article-77");
  const session = articleClient(connections, endpointUrl, tokens?.accessToken ?? "");
  await session.listArticles({});
  await users.signOut({ appId, refreshToken: tokens?.refreshToken ?? "" });
  await narrator.refused("bob's call after he signed out, though his token has not expired", Reason.TOKEN_REVOKED, () =>
    untilRefused(() => session.listArticles({})),
  );
}

async function rotateKeys(stage: Stage): Promise<void> {
  const { narrator, connections, developer, appId } = stage;
  narrator.chapter("Workflow 3: key rotation without downtime");
  const before = await keysOf(connections, appId, "cms-article-77");
  await developer.rotate({ appId, serviceId: "cms-article-77", graceSeconds: 2 });
  const during = await keysOf(connections, appId, "cms-article-77");
  narrator.expect("a new key is current, the old one in grace", during.length === 2 && during[1] === before[0]);
  const bob = await asUser(stage, "cms-article-77");
  narrator.expect("bob is served meanwhile", (await bob.listArticles({})).articles.length === 1);
  await seconds(3.1);
  const after = await keysOf(connections, appId, "cms-article-77");
  narrator.expect("the old key stopped when its grace ended", after.length === 1 && after[0] === during[0]);
}

async function resetByMaster(stage: Stage): Promise<void> {
  const { narrator, developer, appId } = stage;
  narrator.chapter("The key is compromised: suspension and Master Reset");
  const bob = await asUser(stage, "cms-article-77");
  await developer.suspend({ appId, serviceId: "cms-article-77" });
  await narrator.refused("bob's call, within a second", Reason.SERVICE_SUSPENDED, () =>
    untilRefused(() => bob.listArticles({})),
  );
  await narrator.refused("a rotation by the suspended service", Reason.REGISTRY_REFUSED, () =>
    developer.rotate({ appId, serviceId: "cms-article-77" }),
  );
  const { service } = await developer.masterReset({ appId, serviceId: "cms-article-77" });
  narrator.expect("the service is back with a fresh key", service.status === ServiceStatus.ACTIVE);
  const { articles: list } = await untilServed(async () => (await asUser(stage, "cms-article-77")).listArticles({}));
  narrator.expect("with all that bob stored", list.length === 1);
}

async function decommission(stage: Stage): Promise<void> {
  const { narrator, connections, developer, master, appId } = stage;
  narrator.chapter("Workflow 4: decommissioning");
  const client = connections.registries.forDomain(registry);
  const bob = await asUser(stage, "cms-article-77");
  const forger = newKey();
  const receipt = signFor(
    registry,
    TerminationReceiptSchema,
    {
      appId,
      serviceId: "cms-article-77",
      status: TerminationStatus.SUCCESS,
      message: "Instance purged",
      receiptId: "RCPT-0",
      requestDigest: systemRandom(32),
    },
    forger,
  );
  const unbind = { appId, serviceId: "cms-article-77", context: "decommission", providerReceipt: receipt };
  await narrator.refused("an unbinding with a forged receipt", Reason.SIGNER_UNKNOWN, () =>
    client.unbindService(signFor(registry, UnbindSchema, unbind, master)),
  );
  const ended = await developer.terminateService({
    appId,
    serviceId: "cms-article-77",
    dataHandling: DataHandling.WIPE,
  });
  narrator.expect(`the provider's receipt: "${ended.receipt?.message}"`, ended.receipt !== undefined);
  narrator.expect(
    "the registry keeps a tombstone without keys",
    ended.service.status === ServiceStatus.REVOKED && ended.service.keys.length === 0,
  );
  const bill = await billWhen(stage, "cms-article-77", ({ status }) => status === AccountStatus.CLOSED);
  narrator.expect(`its account is closed, the final bill: ${totalOf(bill)} article`, totalOf(bill) === 1n);
  await narrator.refused("bob's call at the purged service", Reason.TENANT_UNKNOWN, () =>
    untilRefused(() => bob.listArticles({})),
  );
  await narrator.refused("a new token for the purged service", Reason.SERVICE_REVOKED, () =>
    untilRefused(() => asUser(stage, "cms-article-77")),
  );
  const unbound = await developer.unbindService({ appId, serviceId: "handmade" });
  narrator.expect("a provider that gives no receipt cannot stay", unbound.status === ServiceStatus.REVOKED);
  narrator.expect("journal goes on", (await (await asUser(stage, "journal")).listArticles({})).articles.length === 0);
}

async function readLog({ narrator, connections, appId }: Stage): Promise<void> {
  narrator.chapter("What remains: the registry's log");
  const client = connections.registries.forApp(appId);
  let page = await client.readLog();
  while (page.entries.length > 0) {
    for (const { index, effectType } of page.entries) {
      narrator.say(`${String(index).padStart(3)}  ${effectType.replace("omi.registry.v1.", "")}`);
    }
    page = await client.readLog({ after: page.position });
  }
  const { index } = page.position;
  narrator.expect(`${index} entries up to the signed head, and their hash chain holds`, index > 0n);
}

/** A client of the service `at`, with bob's new token for the service `forService`. */
async function asUser({ connections, appId }: Stage, at: string, forService = at) {
  const users = createClient(UserService, await connections.transportFor(auth));
  const { tokens } = await users.signIn({ appId, userName: "bob", password, serviceId: forService });
  const { endpointUrl } = await recordOf(connections, appId, at);
  return articleClient(connections, endpointUrl, tokens?.accessToken ?? "");
}

function articleClient({ dialer }: Connections, baseUrl: string, token: string) {
  const withToken: Interceptor = (next) => (request) => {
    if (token !== "") request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  const transport = createTransport({
    baseUrl,
    dialer,
    unavailable: Reason.PROVIDER_UNAVAILABLE,
    httpVersion: "1.1",
    interceptors: [withToken],
  });
  return createClient(ArticleService, transport);
}

async function recordOf({ registries }: Connections, appId: string, serviceId: string): Promise<Service> {
  return (await registries.forApp(appId).resolveService(appId, serviceId, { fresh: true })).value;
}

async function keysOf(connections: Connections, appId: string, serviceId: string): Promise<string[]> {
  return (await recordOf(connections, appId, serviceId)).keys.map((key) => key.keyId);
}

/** The bill of a service once it is as expected: usage and the news of an unbinding are on their way for a moment. */
async function billWhen({ connections, master, appId }: Stage, serviceId: string, isExpected: (bill: Bill) => boolean) {
  const reader = createDeveloper({ masterKey: master, connections, clock: systemClock, random: systemRandom });
  for (let tries = 0; tries < 50; tries++) {
    const bill = await reader.readBill({ appId, serviceId }).catch((error: unknown) => {
      if (!isRefusal(error, Reason.ACCOUNT_UNKNOWN)) throw error;
      return undefined;
    });
    if (bill !== undefined && isExpected(bill)) return bill;
    await seconds(0.1);
  }
  throw new Error(`no such bill of ${serviceId} within seconds`);
}

function totalOf({ totals }: Bill): bigint {
  return totals.find(({ meter }) => meter === "articles_stored")?.amount ?? 0n;
}

/** Services may go by what they knew a moment ago, so a refusal may take that long. Throws the refusal when it comes. */
async function untilRefused(attempt: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; tries < 50; tries++) {
    await attempt();
    await seconds(0.1);
  }
}

/** The other way round: what was refused a moment ago is served soon. */
async function untilServed<T>(attempt: () => Promise<T>): Promise<T> {
  for (let tries = 0; tries < 30; tries++) {
    try {
      return await attempt();
    } catch {
      await seconds(0.1);
    }
  }
  return attempt();
}

function seconds(count: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, count * 1000));
}
