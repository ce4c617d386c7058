import { copyFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { createConnectTransport } from "@connectrpc/connect-node";
import BetterSqlite3 from "better-sqlite3";
import pino from "pino";
import { expect, onTestFinished, test } from "vitest";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { RegistryKeysPublishedSchema } from "../../gen/omi/registry/v1/log_pb.ts";
import { RegistryAnswerSchema, RegistryKeysSchema } from "../../gen/omi/registry/v1/registry_pb.ts";
import { ServiceAnswerSchema, ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Clock } from "../../src/core/clock.ts";
import { Reason } from "../../src/core/refusal.ts";
import { UnusableFileError } from "../../src/core/unusable-file.ts";
import { Log } from "../../src/log/log.ts";
import { encodeEffect } from "../../src/registry/effects.ts";
import { encodeStatement } from "../../src/registry/keyring.ts";
import { registryMigrations } from "../../src/registry/migrations.ts";
import { Projection } from "../../src/registry/projection.ts";
import { createRegistryReader, type ReaderOptions, type RegistryReader } from "../../src/registry/reader.ts";
import { openAnswer, signStatement, statementId } from "../../src/statement/statement.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { dumpOf, type FileRegistry, startFileRegistry } from "../contract/support/file-registry.ts";
import { refused } from "../contract/support/refused.ts";
import {
  bindTestService,
  claimOf,
  present,
  registerTestApp,
  rotateTestService,
  suspendOf,
} from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testKey, testNonce } from "../support/keys.ts";
import { type RegistryClients, registryClients, registryDomain, serveRegistry } from "../support/registry.ts";

/** A reader on a server of its own, beside a registry; both stop with the test. */
async function startReader({ file, key, clock }: FileRegistry, options: Partial<ReaderOptions> = {}) {
  const reader = createRegistryReader({
    domain: registryDomain,
    databaseFile: file,
    keys: [{ key, notBefore: 0, notAfter: 0 }],
    clock,
    allowPlainHttp: (host) => host.endsWith(".test"),
    ...options,
  });
  const server = await serveRegistry(reader, pino({ level: "silent" }));
  onTestFinished(async () => {
    await server.close(100);
    reader.close();
  });
  const transport = createConnectTransport({ baseUrl: server.address.url, httpVersion: "2", useHttpGet: true });
  return { ...registryClients(transport), url: server.address.url, reader };
}

async function started() {
  const registry = await startFileRegistry();
  const service = await bindTestService(registry, await registerTestApp(registry));
  return { registry, service, reader: await startReader(registry) };
}

type Service = Awaited<ReturnType<typeof started>>["service"];

/** The service as everybody is told, or only the caller if `fresh`. */
async function read({ resolver }: RegistryClients, { app, serviceId }: Service, fresh = false) {
  const nonce = fresh ? testNonce() : new Uint8Array();
  const { answer } = await resolver.resolveService({ appId: app.appId, serviceId, nonce });
  return present(openAnswer(ServiceAnswerSchema, present(answer)).message.service);
}

test("a reader answers every read as its registry does", async () => {
  const { registry, service, reader } = await started();
  const { appId } = service.app;
  const answersOf = async ({ resolver }: RegistryClients) => [
    await resolver.resolveRegistry({}),
    await resolver.listRegistryKeys({}),
    await resolver.resolveNamespace({ namespace: service.app.namespace }),
    await resolver.resolveApp({ appId }),
    await resolver.resolveService({ appId, serviceId: service.serviceId }),
    await resolver.listServices({ appId }),
  ];
  expect(await answersOf(reader)).toEqual(await answersOf(registry));
});

test.each([false, true])("what was written is read at once (with a nonce: %s)", async (fresh) => {
  const { registry, reader, ...begun } = await started();
  let { service } = begun;
  for (let rotation = 0; rotation < 5; rotation++) {
    const before = await read(reader, service, fresh);
    service = await rotateTestService(registry, service);
    const after = await read(reader, service, fresh);
    expect(after.keys[0]?.keyId).not.toBe(before.keys[0]?.keyId);
    expect(after).toEqual(await read(registry, service, true));
    registry.clock.advance(300);
  }
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  expect(await read(reader, service, fresh)).toMatchObject({ status: ServiceStatus.SUSPENDED, keys: [] });
});

test("what is read right after another process has written is what it wrote, whatever else is read meanwhile", async () => {
  const { registry, reader, service } = await started();
  const others = await Promise.all(
    Array.from({ length: 8 }, (_, i) => bindTestService(registry, service.app, `article-${i}`)),
  );
  const suspended = others.map(async (other) => {
    await registry.registry.suspendService({ statement: suspendOf(registry.clock, other) });
    return (await read(reader, other)).status;
  });
  const meanwhile = others.map((other) => read(reader, other));
  await Promise.all(meanwhile);
  expect(await Promise.all(suspended)).toEqual(others.map(() => ServiceStatus.SUSPENDED));
});

test("a reader takes no writes and has no streams", async () => {
  const { registry, reader } = await started();
  await refused(
    reader.registry.claimNamespace({ statement: claimOf(registry.clock, "carol", testKey("carol")) }),
    Reason.UNIMPLEMENTED,
  );
  await refused(reader.events.getHeads({}), Reason.UNIMPLEMENTED);
  await refused(reader.log.readLog({}), Reason.UNIMPLEMENTED);
});

test("reads go on while the registry is stopped, and after it is back", async () => {
  const { registry, service, reader } = await started();
  const before = registry.contents();
  await registry.halt();
  for (const fresh of [false, true]) expect((await read(reader, service, fresh)).status).toBe(ServiceStatus.ACTIVE);

  const back = await registry.restarted();
  expect(back.contents()).toEqual(before);
  await back.registry.suspendService({ statement: suspendOf(back.clock, service) });
  for (const fresh of [false, true]) expect((await read(reader, service, fresh)).status).toBe(ServiceStatus.SUSPENDED);
});

test("an answer tells how long the log is, of what others wrote too", async () => {
  const { registry, reader } = await started();
  const size = async () => {
    const { answer } = await reader.resolver.resolveRegistry({});
    return openAnswer(RegistryAnswerSchema, present(answer)).message.logSize;
  };
  const before = await size();
  await registerTestApp(registry);
  expect(await size()).toBe(BigInt(registry.contents().logSize));
  expect(await size()).toBeGreaterThan(before);
});

test("there is no reader before its registry, nor of another version, nor with a key that is not published", async () => {
  const registry = await startFileRegistry();
  await expect(startReader({ ...registry, file: join(temporaryFolder(), "none.db") })).rejects.toThrow();
  const empty = join(temporaryFolder(), "empty.db");
  openDatabase(empty, registryMigrations).close();
  await expect(startReader({ ...registry, file: empty })).rejects.toThrow("does not publish");
  const old = join(temporaryFolder(), "old.db");
  openDatabase(old, registryMigrations.slice(0, -1)).close();
  await expect(startReader({ ...registry, file: old })).rejects.toThrow("another version");
  await expect(startReader({ ...registry, key: testKey("another") })).rejects.toThrow("does not publish");
  // None of them has changed anything.
  expect(dumpOf(old)).toEqual([]);
});

/** Whether a reader has ended by now, and with what. */
function endOf({ outdated }: RegistryReader) {
  let error: Error | undefined;
  void outdated.then((reason) => {
    error = reason;
  });
  return async () => {
    await Promise.resolve();
    return error;
  };
}

/** A second connection to a registry's file, for what the registry itself would not do. */
function connectionTo({ file }: FileRegistry): Database {
  const db = openDatabase(file, registryMigrations);
  onTestFinished(() => void db.close());
  return db;
}

/** Adds to the log what no registry of this version does. */
function appendUnknown(db: Database): void {
  const log = new Log(db);
  const head = log.head();
  const bytes = testNonce();
  log.append(head, {
    time: head.time,
    statementId: bytes,
    statement: bytes,
    private: false,
    effectType: "omi.registry.v1.NotKnownYet",
    effect: bytes,
  });
}

/** Publishes a key set with other keys, signed by one that the clients know. */
function publishOtherKeys(db: Database, { key }: FileRegistry): void {
  const [version, { publicKey }] = [2n, testKey("registry 2")];
  const header = { issuedAt: 0n };
  const keys = [{ publicKey, algorithm: KeyAlgorithm.ED25519 }];
  const set = signStatement(RegistryKeysSchema, { header, domain: registryDomain, version, keys }, key);
  const effect = create(RegistryKeysPublishedSchema, { version });
  const log = new Log(db);
  db.transaction(() => {
    const head = log.head();
    const entry = { time: head.time, statementId: statementId(set), statement: encodeStatement(set) };
    new Projection(db).apply({ ...entry, effect });
    log.append(head, { ...entry, private: false, effectType: effect.$typeName, effect: encodeEffect(effect) });
  })();
}

test.each([
  [
    "brings the file to its version",
    (db: Database) => db.exec("ALTER TABLE log RENAME TO entries; PRAGMA user_version = 99"),
  ],
  ["writes what this one does not know", appendUnknown],
])("a reader ends when a registry of a newer version %s", async (_, write) => {
  const { registry, service, reader } = await started();
  const end = endOf(reader.reader);
  write(connectionTo(registry));
  for (const fresh of [false, true]) await refused(read(reader, service, fresh), Reason.SHUTTING_DOWN);
  expect(await end()).toBeInstanceOf(UnusableFileError);
});

test("a reader misses nothing that is committed while it starts", async () => {
  const { registry, service } = await started();
  const db = connectionTo(registry);
  let published = false;
  const now = () => {
    if (!published) publishOtherKeys(db, registry);
    published = true;
    return registry.clock.now();
  };
  const setTimer: Clock["setTimer"] = (...args) => registry.clock.setTimer(...args);
  const reader = await startReader(registry, { clock: { now, setTimer } });
  await refused(read(reader, service), Reason.SHUTTING_DOWN);
});

test("a reader that nobody asks ends too", async () => {
  const { registry, reader } = await started();
  const end = endOf(reader.reader);
  publishOtherKeys(connectionTo(registry), registry);
  registry.clock.advance(1);
  expect(await end()).toBeInstanceOf(UnusableFileError);
});

test("a reader ends when the key that has come into force is not published", async () => {
  const { registry } = await started();
  const end = registry.clock.seconds() + 10;
  const reader = await startReader(registry, {
    keys: [
      { key: registry.key, notBefore: 0, notAfter: end },
      { key: testKey("registry 2"), notBefore: end, notAfter: 0 },
    ],
  });
  const ended = endOf(reader.reader);
  registry.clock.advance(9);
  expect(await ended()).toBeUndefined();
  registry.clock.advance(1);
  expect(await ended()).toBeInstanceOf(UnusableFileError);
});

test("a reader ends when another file is put in the place of its own", async () => {
  const { registry, service, reader } = await started();
  const end = endOf(reader.reader);
  copyFileSync(registry.file, `${registry.file}.copy`);
  registry.clock.advance(1);
  expect(await end()).toBeUndefined();
  renameSync(`${registry.file}.copy`, registry.file);
  registry.clock.advance(1);
  expect(await end()).toBeInstanceOf(UnusableFileError);
  for (const fresh of [false, true]) await refused(read(reader, service, fresh), Reason.SHUTTING_DOWN);
});

test("a reader ends when its file is restored to what it was before", async () => {
  const { registry, service, reader } = await started();
  const end = endOf(reader.reader);
  const before = join(temporaryFolder(), "before.db");
  await connectionTo(registry).backup(before);
  const bound = await bindTestService(registry, service.app, "another");
  expect((await read(reader, bound)).status).toBe(ServiceStatus.ACTIVE);

  await registry.halt();
  const backup = new BetterSqlite3(before);
  await backup.backup(registry.file);
  backup.close();
  for (const fresh of [false, true]) await refused(read(reader, bound, fresh), Reason.SHUTTING_DOWN);
  expect(await end()).toBeInstanceOf(UnusableFileError);
});

test("a reader follows to a key set that its key is in, and ends with the first one that it is not in", async () => {
  const registry = await startFileRegistry();
  const [first, second] = [registry.key, testKey("registry 2")];
  const service = await bindTestService(registry, await registerTestApp(registry));
  const reader = await startReader(registry);
  const end = endOf(reader.reader);
  const always = { notBefore: 0, notAfter: 0 };

  const both = await registry.restarted({ keys: [first, second].map((key) => ({ key, ...always })) });
  expect((await read(reader, service)).status).toBe(ServiceStatus.ACTIVE);
  expect(await end()).toBeUndefined();

  await both.restarted({ keys: [{ key: second, ...always }] });
  await refused(read(reader, service), Reason.SHUTTING_DOWN);
  await refused(read(reader, service, true), Reason.SHUTTING_DOWN);
  expect(await end()).toBeInstanceOf(UnusableFileError);
});
