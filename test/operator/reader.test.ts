import { once } from "node:events";
import { copyFileSync, renameSync } from "node:fs";
import { dirname, join } from "node:path";
import { createConnectTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { NamespaceAnswerSchema } from "../../gen/omi/registry/v1/namespace_pb.ts";
import { Reason } from "../../src/core/refusal.ts";
import { openAnswer } from "../../src/statement/statement.ts";
import { omi } from "../cli/support.ts";
import { refused } from "../contract/support/refused.ts";
import { FakeClock } from "../support/clock.ts";
import { claimOf, present } from "../support/developer.ts";
import { testKey } from "../support/keys.ts";
import { registryClients } from "../support/registry.ts";
import { end, registryConfig, serve } from "./support.ts";

const configFile = () => registryConfig({ development: true }, { port: 0 }).file;

/** Each client has a connection of its own, which the system gives to one of those who share the port. */
function clientsOf(url: string) {
  return registryClients(createConnectTransport({ baseUrl: url, httpVersion: "2" }));
}

test("readers share a port, know of every write at once, and go on when their registry is killed", async () => {
  const file = configFile();
  const clock = new FakeClock(Math.floor(Date.now() / 1000));
  const registry = await serve([file]);
  const first = await serve([file, "--reader"], { OMI_SERVE_REGISTRY__READER_PORT: "0" });
  const port = new URL(first.url).port;
  const second = await serve([file, "--reader"], { OMI_SERVE_REGISTRY__READER_PORT: port });
  expect(second.url).toBe(first.url);

  const readers = Array.from({ length: 8 }, () => clientsOf(first.url));
  const resolveAll = (namespace: string) =>
    Promise.all(readers.map(({ resolver }) => resolver.resolveNamespace({ namespace })));
  const writer = clientsOf(registry.url);
  for (const namespace of ["alice", "bob", "carol"]) {
    await refused(resolveAll(namespace), Reason.NAMESPACE_UNKNOWN);
    const master = testKey(namespace);
    await writer.registry.claimNamespace({ statement: claimOf(clock, namespace, master) });
    for (const { answer } of await resolveAll(namespace)) {
      const { message } = openAnswer(NamespaceAnswerSchema, present(answer));
      expect(message.namespace?.masterKeyId).toBe(master.keyId);
    }
  }

  await end(registry.child, "SIGKILL");
  expect(await resolveAll("alice")).toHaveLength(readers.length);
  const rebuild = ["registry", "rebuild", "--database", join(dirname(file), "registry.db")];
  expect((await omi(rebuild)).code).toBe(2);
  expect(await end(second.child, "SIGTERM")).toEqual([0, null]);
  expect(await end(first.child, "SIGTERM")).toEqual([0, null]);
  expect((await omi(rebuild)).code).toBe(0);
});

test("a reader whose file was replaced ends with 2 by itself", async () => {
  const file = configFile();
  await serve([file]);
  const { child } = await serve([file, "--reader"], { OMI_SERVE_REGISTRY__READER_PORT: "0" });
  const database = join(dirname(file), "registry.db");
  const exit = once(child, "exit");
  copyFileSync(database, `${database}.copy`);
  renameSync(`${database}.copy`, database);
  expect(await exit).toEqual([2, null]);
});

test.each([
  ["no port", { OMI_SERVE_REGISTRY__DOMAIN: "omi-registry.test" }, "registry.readerPort"],
  ["no registry yet", { OMI_SERVE_REGISTRY__READER_PORT: "0" }, "does not exist"],
])("with %s, a reader says so, with 2", async (_, env, problem) => {
  const { code, stderr } = await omi(["serve", configFile(), "--reader"], { env });
  expect([code, stderr]).toEqual([2, expect.stringContaining(problem)]);
});
