import { execFileSync } from "node:child_process";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { connect, nkeyAuthenticator, nkeys } from "nats";
import { describe, expect, onTestFinished, test } from "vitest";
import { KeyFileError } from "../../src/core/key-file.ts";
import type { NatsSettings } from "../../src/events/nats/settings.ts";
import { accepts, signIn, startSessionWorld } from "../agent/session-world.ts";
import { bindTestService, registerTestApp } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { startRegistry } from "../support/registry.ts";
import { carrierFrom, consumer, openEar } from "./support/listening.ts";
import { LiveClock } from "./support/live-clock.ts";
import { freePort, natsEnvironment, startNats, type TestNats } from "./support/nats-server.ts";
import { publisherTo, stream, testLog, untilPublished } from "./support/publishing.ts";
import { sessionCarriersFrom, sessionPublisherTo, sessionStream } from "./support/sessions.ts";

// The configurations of the documentation, as they are but for addresses, paths and keys.

const patient = { timeout: 60_000, interval: 20 };
const documented = fileURLToPath(new URL("../../docs/nats/", import.meta.url));
const certFile = fileURLToPath(new URL("../support/tls/cert.pem", import.meta.url));
const keyFile = fileURLToPath(new URL("../support/tls/key.pem", import.meta.url));

interface User {
  publicKey: string;
  seed: Uint8Array;
  settings: NatsSettings;
}

/** A user with an NKey, and how a part is configured for it. */
function user(name: string, folder: string): User {
  const pair = nkeys.createUser();
  const nkeySeedFile = join(folder, `${name}.nk`);
  writeFileSync(nkeySeedFile, `${new TextDecoder().decode(pair.getSeed())}\n`, { mode: 0o600 });
  return {
    publicKey: pair.getPublicKey(),
    seed: pair.getSeed(),
    settings: { servers: [], tls: { caFile: certFile }, nkeySeedFile },
  };
}

/** A documented file with other addresses, paths and keys; each must be there. */
function adapt(file: string, changes: Record<string, string>): string {
  let text = readFileSync(join(documented, file), "utf8");
  for (const [from, to] of Object.entries(changes)) {
    expect(text).toContain(from);
    text = text.replaceAll(from, to);
  }
  return text;
}

function users() {
  const folder = temporaryFolder();
  return {
    folder,
    registry: user("registry", folder),
    auth: user("auth", folder),
    article: user("article", folder),
  };
}

type Users = ReturnType<typeof users>;

function writeConfig(
  at: { folder: string; store: string; port: number },
  { registry, auth, article }: Users,
  file: string,
  changes: Record<string, string>,
  permissionChanges: Record<string, string> = {},
): string {
  const path = join(at.folder, "nats.conf");
  const common = {
    "0.0.0.0:4222": `127.0.0.1:${at.port}`,
    "/var/lib/nats": at.store,
    "/etc/nats/tls/cert.pem": certFile,
    "/etc/nats/tls/key.pem": keyFile,
  };
  writeFileSync(path, adapt(file, { ...common, ...changes }));
  const keys = {
    REGISTRY_PUBLIC_NKEY: registry.publicKey,
    AUTH_PUBLIC_NKEY: auth.publicKey,
    ARTICLE_PUBLIC_NKEY: article.publicKey,
  };
  writeFileSync(join(at.folder, "permissions.conf"), adapt("permissions.conf", { ...keys, ...permissionChanges }));
  return path;
}

async function startSingle(who: Users): Promise<TestNats> {
  return startNats({ configure: (at) => writeConfig(at, who, "single.conf", {}) });
}

async function bare(nats: TestNats, { seed, settings }: User, name = consumer) {
  const connection = await connect({
    servers: nats.address,
    reconnect: false,
    tls: settings.tls ?? {},
    authenticator: nkeyAuthenticator(seed),
    inboxPrefix: `_INBOX.${name}`,
  });
  onTestFinished(() => connection.close());
  return connection;
}

describe("one server with TLS, NKeys and permissions", () => {
  test("the registry publishes, a part listens", async () => {
    const who = users();
    const nats = await startSingle(who);
    const { servers, ...registrySettings } = who.registry.settings;
    const registry = await startRegistry({ clock: new LiveClock(), publisher: publisherTo(nats, registrySettings) });
    const app = await registerTestApp(registry);
    await untilPublished(registry);
    const { servers: _, ...partSettings } = who.article.settings;
    const ear = openEar(carrierFrom(nats, partSettings), [app.appId]);
    await expect.poll(ear.connected, patient).toBe(1);
    await bindTestService(registry, app);
    await expect.poll(() => ear.heard, patient).toEqual([`${app.appId} 2`]);
  });

  test("a part may not publish, nor change or read the stream, nor use another's consumer", async () => {
    const who = users();
    const nats = await startSingle(who);
    const { servers, ...registrySettings } = who.registry.settings;
    const registry = await startRegistry({ clock: new LiveClock(), publisher: publisherTo(nats, registrySettings) });
    await registerTestApp(registry);
    await untilPublished(registry);

    const connection = await bare(nats, who.article);
    const jetstream = connection.jetstream({ timeout: 2000 });
    const manager = await jetstream.jetstreamManager(false);
    const forbidden = [
      () => jetstream.publish("omi.v1.omi-registry_test.alice.shop_0a1b2c.purge", "forged"),
      () => manager.streams.info(stream),
      () => manager.streams.purge(stream),
      () => manager.streams.delete(stream),
      () => manager.streams.update(stream, { max_age: 1_000_000_000 }),
      () => manager.streams.deleteMessage(stream, 1),
      () => manager.streams.getMessage(stream, { seq: 1 }),
      () => manager.streams.add({ name: "other", subjects: ["omi.v1.omi-registry_test.alice.>"] }),
      () => manager.consumers.add(stream, { durable_name: "somebody_else", filter_subject: "omi.v1.>" }),
      () => manager.consumers.delete(stream, consumer),
    ];
    for (const attempt of forbidden) {
      await expect(attempt()).rejects.toMatchObject({ code: "PERMISSIONS_VIOLATION" });
    }
  });

  /** A mesh whose NATS starts when the app that its permissions name is there. */
  async function startSessions() {
    const who = users();
    const port = await freePort();
    const at = { servers: [`127.0.0.1:${port}`] };
    const nats: Pick<TestNats, "address"> = { address: `127.0.0.1:${port}` };
    const world = await startSessionWorld(
      { sessions: { carrierFor: sessionCarriersFrom(nats, { ...who.article.settings, ...at }) } },
      { sessionPublisher: sessionPublisherTo(nats, { ...who.auth.settings, ...at }) },
      { clock: new LiveClock(), publisher: publisherTo(nats, { ...who.registry.settings, ...at }) },
    );
    const { namespace, appId } = world.app;
    const served = `${namespace}.shop_${appId.slice(-6)}`;
    const configure = (where: { folder: string; store: string; port: number }) =>
      writeConfig(where, who, "single.conf", {}, { "alice.shop_7f8a9d": served });
    return { who, world, nats: await startNats({ port, configure }) };
  }

  test("the Auth Provider publishes ends of sessions, a service of the app listens", async () => {
    const { who, world, nats } = await startSessions();
    const { servers, ...settings } = who.article.settings;
    const ear = openEar(sessionCarriersFrom(nats, settings)("auth.test"), [world.appId]);
    await expect.poll(ear.connected, patient).toBe(1);
    const alice = await signIn(world);
    await alice.signOut();
    await expect.poll(() => ear.messages, patient).toHaveLength(1);
    await expect.poll(() => accepts(world.article, alice.accessToken), patient).toBe("TOKEN_REVOKED");
  });

  test("nobody listens to the sessions of an app that he does not serve, nor publishes others' events", async () => {
    const { who, nats } = await startSessions();
    const log = testLog();
    const other = "test.omi-registry.alice.other.0a1b2c";
    const { servers, ...settings } = who.article.settings;
    openEar(sessionCarriersFrom(nats, { ...settings, log })("auth.test"), [other]);
    await expect.poll(() => log.lines().filter(({ nextStep }) => nextStep !== undefined), patient).toHaveLength(1);

    const article = (await bare(nats, who.article)).jetstream({ timeout: 2000 });
    const auth = (await bare(nats, who.auth, "auth_test")).jetstream({ timeout: 2000 });
    const registry = (await bare(nats, who.registry, "omi-registry_test")).jetstream({ timeout: 2000 });
    const session = "omi.v1.auth.auth_test.omi-registry_test.alice.shop_0a1b2c.session_revoked";
    const manager = await article.jetstreamManager(false);
    const forbidden = [
      () => article.publish(session, "forged"),
      () => registry.publish(session, "forged"),
      () => auth.publish("omi.v1.omi-registry_test.alice.shop_0a1b2c.purge", "forged"),
      () => auth.publish("omi.v1.auth.other-auth_test.omi-registry_test.alice.shop_0a1b2c.session_revoked", "forged"),
      () => manager.streams.info(sessionStream),
      () => manager.streams.getMessage(sessionStream, { seq: 1 }),
      () => manager.consumers.add(sessionStream, { durable_name: consumer, filter_subject: "omi.v1.auth.auth_test.>" }),
    ];
    for (const attempt of forbidden) {
      await expect(attempt()).rejects.toMatchObject({ code: "PERMISSIONS_VIOLATION" });
    }
  });

  test("without a key, with a stranger's, and without trust in the server's certificate nobody gets in", async () => {
    const who = users();
    const nats = await startSingle(who);
    const stranger = user("stranger", who.folder);
    const { servers, ...settings } = who.registry.settings;
    const { nkeySeedFile, ...withoutKey } = settings;
    const connects = (changed: Partial<NatsSettings>) =>
      publisherTo(nats, changed).connect(new AbortController().signal);
    await expect(connects(withoutKey)).rejects.toMatchObject({ code: "AUTHORIZATION_VIOLATION" });
    const { servers: _, ...strange } = stranger.settings;
    await expect(connects(strange)).rejects.toMatchObject({ code: "AUTHORIZATION_VIOLATION" });
    await expect(connects({ ...settings, tls: {} })).rejects.toThrow();
  });

  test("a seed that others can read is not used", async () => {
    const who = users();
    const nats = await startSingle(who);
    const { servers, ...settings } = who.registry.settings;
    chmodSync(settings.nkeySeedFile ?? "", 0o644);
    await expect(publisherTo(nats, settings).connect(new AbortController().signal)).rejects.toBeInstanceOf(
      KeyFileError,
    );
  });
});

test("TLS that is asked for is never done without", async () => {
  const nats = await startNats();
  const connecting = publisherTo(nats, { tls: { caFile: certFile } }).connect(new AbortController().signal);
  await expect(connecting).rejects.toThrow();
});

test("the line for servers that can sync always is known to them, and to no earlier ones", () => {
  const folder = temporaryFolder();
  const changes = { "# sync_interval: always": "sync_interval: always" };
  const config = writeConfig({ folder, store: join(folder, "store"), port: 4222 }, users(), "single.conf", changes);
  const nats = (...args: string[]) =>
    execFileSync("nats-server", args, { encoding: "utf8", env: natsEnvironment, stdio: "pipe" });
  const [, minor] = /v2\.(\d+)\./.exec(nats("--version")) ?? [];
  const check = () => nats("-t", "-c", config);
  if (Number(minor) >= 10) check();
  else expect(check).toThrow();
});

test("three servers keep three copies, and one of them may be gone", async () => {
  const who = users();
  const nodes = await Promise.all([1, 2, 3].map(async () => ({ client: await freePort(), route: await freePort() })));
  const routes = Object.fromEntries(
    nodes.map(({ route }, index) => [`nats-${index + 1}.internal:6222`, `127.0.0.1:${route}`]),
  );
  const servers = await Promise.all(
    nodes.map(({ client, route }, index) =>
      startNats({
        port: client,
        configure: (at) =>
          writeConfig(at, who, "cluster.conf", {
            ...routes,
            "server_name: omi-1": `server_name: omi-${index + 1}`,
            "0.0.0.0:6222": `127.0.0.1:${route}`,
            "/etc/nats/tls/ca.pem": certFile,
          }),
      }),
    ),
  );
  const [first, second] = servers;
  if (first === undefined || second === undefined) throw new Error("no servers");
  const addresses = { servers: servers.map(({ address }) => address) };
  const publisher = publisherTo(first, { ...who.registry.settings, ...addresses, stream: { replicas: 3 } });
  const registry = await startRegistry({ clock: new LiveClock(), publisher });
  const app = await registerTestApp(registry);
  await untilPublished(registry);
  const ear = openEar(carrierFrom(first, { ...who.article.settings, ...addresses }), [app.appId]);
  await expect.poll(ear.connected, patient).toBe(1);

  await second.kill();
  await bindTestService(registry, app);
  await untilPublished(registry);
  await expect.poll(() => ear.heard, patient).toContain(`${app.appId} 2`);
});
