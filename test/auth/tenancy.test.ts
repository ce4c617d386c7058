import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { DataHandling, ServiceKeyRotatedSchema, TerminationReceiptSchema } from "../../gen/omi/agent/v1/agent_pb.ts";
import { BackboneUpdateSchema, KeyStatus } from "../../gen/omi/registry/v1/app_pb.ts";
import { type Service, ServiceAnswerSchema, ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { authMigrations } from "../../src/auth/migrations.ts";
import { openAnswer, openRequest, signStatement, statementId, verifySignature } from "../../src/statement/statement.ts";
import { openDatabase } from "../../src/store/database.ts";
import { headerAt, present, type TestApp, unbindOf } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import {
  announce,
  announceAnswer,
  outcomeOf,
  provision,
  provisionOf,
  type RunningProvider,
  rotateOf,
  SERVICE_ID,
  startAnnouncedMesh,
  startMesh,
  startProvider,
  terminateOf,
} from "./support.ts";

const credentials = { userName: "alice", password: "correct horse battery" };

async function signIn({ users }: RunningProvider, { appId }: TestApp): Promise<string> {
  await users.signUp({ appId, ...credentials });
  const { tokens } = await users.signIn({ appId, ...credentials, serviceId: SERVICE_ID });
  return present(tokens).refreshToken;
}

async function terminate(provider: RunningProvider, statement: Statement): Promise<Statement> {
  return present((await provider.tenancy.terminateService({ statement })).receipt);
}

/** The service record `auth` of an app. */
async function authRecord({ registry }: RunningProvider, { appId }: TestApp): Promise<Service> {
  const { answer } = await registry.resolver.resolveService({ appId, serviceId: "auth" });
  return present(openAnswer(ServiceAnswerSchema, present(answer)).message.service);
}

async function rotate(provider: RunningProvider, statement: Statement) {
  const { answer } = await provider.tenancy.rotateServiceKey({ statement });
  return openAnswer(ServiceKeyRotatedSchema, present(answer)).message;
}

describe("termination", () => {
  test.each([
    [DataHandling.WIPE as DataHandling, 0],
    [DataHandling.RETAIN, 1],
  ])(
    "with data handling %i leaves %i users, serves nothing, and gives the same receipt for ever",
    async (how, left) => {
      const databaseFile = `${temporaryFolder()}/auth.db`;
      const { provider, app } = await startAnnouncedMesh({ databaseFile });
      const { appId } = app;
      const refreshToken = await signIn(provider, app);
      const order = terminateOf(provider, app, how);
      const receipt = await terminate(provider, order);

      const call = { appId, serviceId: SERVICE_ID };
      expect(await outcomeOf(provider.users.signIn({ ...call, ...credentials }))).toBe("TENANT_TERMINATED");
      expect(await outcomeOf(provider.users.signUp({ appId, userName: "bob", password: "12345678" }))).toBe(
        "TENANT_TERMINATED",
      );
      expect(await outcomeOf(provider.users.refreshToken({ ...call, refreshToken }))).toBe("TENANT_TERMINATED");
      expect(await outcomeOf(provider.users.signOut({ appId, refreshToken }))).toBe("ok");
      expect(await outcomeOf(provider.tenancy.rotateServiceKey({ statement: rotateOf(provider, app) }))).toBe(
        "TENANT_TERMINATED",
      );
      expect(await terminate(provider, order)).toEqual(receipt);
      expect(await terminate(provider, terminateOf(provider, app))).toEqual(receipt);

      await provider.stop();
      const db = openDatabase(databaseFile, authMigrations);
      const count = (table: string) => db.prepare(`SELECT count(*) FROM ${table}`).pluck().get();
      expect(["users", "sessions", "key_pairs", "service_keys"].map(count)).toEqual([left, 0, 0, 0]);
      db.close();
    },
  );

  test("with WIPE leaves no trace of users on disk, before the receipt is given", async () => {
    const folder = temporaryFolder();
    const { provider, app } = await startAnnouncedMesh({ databaseFile: `${folder}/auth.db` });
    await signIn(provider, app);
    const onDisk = () => readdirSync(folder).some((name) => readFileSync(`${folder}/${name}`).includes("alice"));
    expect(onDisk()).toBe(true);
    await terminate(provider, terminateOf(provider, app));
    expect(onDisk()).toBe(false);
  });

  test("gives a receipt that the registry unbinds the record with", async () => {
    const { registry, provider, app, answer } = await startAnnouncedMesh();
    const order = terminateOf(provider, app);
    const receipt = await terminate(provider, order);
    const opened = openRequest(TerminationReceiptSchema, receipt);
    await verifySignature(opened, answer.servicePublicKey);
    expect(opened.message.requestDigest).toEqual(statementId(order));
    const service = { app, serviceId: "auth", key: app.master };
    await registry.registry.unbindService({ statement: unbindOf(provider.clock, service, receipt) });
    expect((await authRecord(provider, app)).status).toBe(ServiceStatus.REVOKED);
  });

  test("of a tenant that was never announced is possible", async () => {
    const { provider, app } = await startMesh();
    await provision(provider, provisionOf(provider, app));
    await terminate(provider, terminateOf(provider, app));
  });

  test("of a tenant that isn't there is not", async () => {
    const { provider, app } = await startMesh();
    const statement = terminateOf(provider, app);
    expect(await outcomeOf(provider.tenancy.terminateService({ statement }))).toBe("TENANT_UNKNOWN");
  });
});

describe("the Service key", () => {
  test("is rotated as the developer orders", async () => {
    const { provider, app, answer } = await startAnnouncedMesh();
    const order = rotateOf(provider, app);
    const { publicKey, previousPublicKey } = await rotate(provider, order);
    expect(previousPublicKey).toEqual(answer.servicePublicKey);
    const { keys } = await authRecord(provider, app);
    expect(keys.map((key) => [key.status, key.publicKey])).toEqual([
      [KeyStatus.ACTIVE, publicKey],
      [KeyStatus.GRACE, previousPublicKey],
    ]);
    expect((await rotate(provider, order)).publicKey).toEqual(publicKey);
  });

  test("that a cut-off order left half rotated is rotated without another order", async () => {
    const called = Promise.withResolvers<void>();
    let armed = true;
    const failpoint = (at: string) => {
      if (armed && at === "rotation.before-call") throw new Error(`cut off at ${at}`);
      if (at === "rotation.after-call") called.resolve();
    };
    const { provider, app, answer } = await startAnnouncedMesh({ failpoint });
    expect(await outcomeOf(provider.tenancy.rotateServiceKey({ statement: rotateOf(provider, app) }))).toBe("INTERNAL");
    armed = false;
    provider.clock.advance(75);
    await called.promise;
    const { keys } = await authRecord(provider, app);
    expect(keys.map(({ status }) => status)).toEqual([KeyStatus.ACTIVE, KeyStatus.GRACE]);
    expect(keys[1]?.publicKey).toEqual(answer.servicePublicKey);
  });

  test("of a second announcement takes the place of the first, rotated or not", async () => {
    const databaseFile = `${temporaryFolder()}/auth.db`;
    const { registry, provider, app } = await startAnnouncedMesh({ databaseFile });
    await rotate(provider, rotateOf(provider, app));
    const second = await announce(provider, app);
    const rotated = await rotate(provider, rotateOf(provider, app));
    expect(rotated.previousPublicKey).toEqual(second.servicePublicKey);
    await provider.stop();
    // What was adopted once isn't adopted again over the rotated key.
    const again = await startProvider(registry, { databaseFile });
    provider.clock.advance(301);
    const receipt = openRequest(TerminationReceiptSchema, await terminate(again, terminateOf(again, app)));
    await verifySignature(receipt, rotated.publicKey);
  });

  test("of an answer that is announced after a newer one is the one that counts", async () => {
    const { registry, provider, app } = await startMesh();
    const { answer, message: older } = await provision(provider, provisionOf(provider, app));
    const backbone = { header: headerAt(provider.clock), appId: app.appId, operationalServices: [] };
    await registry.registry.updateBackbone({ statement: signStatement(BackboneUpdateSchema, backbone, app.master) });
    const newer = await announce(provider, app);
    expect(newer.servicePublicKey).not.toEqual(older.servicePublicKey);
    expect((await rotate(provider, rotateOf(provider, app))).previousPublicKey).toEqual(newer.servicePublicKey);
    await announceAnswer(provider, app, answer);
    const receipt = openRequest(TerminationReceiptSchema, await terminate(provider, terminateOf(provider, app)));
    await verifySignature(receipt, older.servicePublicKey);
  });

  test.each(["rotation.before-call", "rotation.after-call"])(
    "of a new announcement ends a rotation that was cut off at %s",
    async (name) => {
      let armed = true;
      const failpoint = (at: string) => {
        if (armed && at === name) throw new Error(`cut off at ${at}`);
      };
      const { provider, app } = await startAnnouncedMesh({ failpoint });
      const order = rotateOf(provider, app);
      expect(await outcomeOf(provider.tenancy.rotateServiceKey({ statement: order }))).toBe("INTERNAL");
      armed = false;
      const second = await announce(provider, app);
      expect((await rotate(provider, rotateOf(provider, app))).previousPublicKey).toEqual(second.servicePublicKey);
      expect(await outcomeOf(provider.tenancy.rotateServiceKey({ statement: order }))).toBe("REGISTRY_REFUSED");
    },
  );
});
