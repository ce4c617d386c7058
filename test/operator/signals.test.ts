import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { connect } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { saveSigningKey } from "../../src/developer/signing-key.ts";
import { meshTls } from "../directory/support.ts";
import { tls } from "../rpc/support/start.ts";
import { temporaryFolder } from "../support/files.ts";
import { testKey } from "../support/keys.ts";

const launcher = new URL("../../src/omi.js", import.meta.url).pathname;

/** Runs a registry with TLS in a process of its own, and waits until it listens. */
async function serve(): Promise<{ folder: string; child: ChildProcess; port: number }> {
  const folder = temporaryFolder();
  saveSigningKey(join(folder, "key.json"), KeyRole.REGISTRY, testKey("registry"));
  copyFileSync(tls.certFile, join(folder, "cert.pem"));
  copyFileSync(tls.keyFile, join(folder, "key.pem"));
  const config = {
    mesh: {},
    server: { port: 0, tls: { certFile: "cert.pem", keyFile: "key.pem" } },
    registry: { domain: "omi-registry.test", databaseFile: "registry.db", keys: [{ file: "key.json" }] },
  };
  writeFileSync(join(folder, "registry.json"), JSON.stringify(config));
  const child = spawn(process.execPath, [launcher, "serve", join(folder, "registry.json")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  for await (const line of createInterface(child.stdout)) {
    const { address } = JSON.parse(line);
    if (address === undefined) continue;
    child.stdout.resume();
    return { folder, child, port: Number(new URL(address).port) };
  }
  return expect.fail("the registry did not start");
}

function subjectAt(port: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().subject.CN);
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

test("SIGHUP makes a part read its certificate again, SIGTERM ends it well", async () => {
  const { folder, child, port } = await serve();
  expect(await subjectAt(port)).toBe("OMI test");
  copyFileSync(meshTls.certFile, join(folder, "cert.pem"));
  copyFileSync(meshTls.keyFile, join(folder, "key.pem"));
  child.kill("SIGHUP");
  let shown = await subjectAt(port);
  while (shown === "OMI test") shown = await subjectAt(port);
  expect(shown).toBe("OMI test mesh");
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  expect(await exit).toEqual([0, null]);
});
