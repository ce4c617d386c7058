import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../src/core/clock.ts";
import { loadConfig } from "../src/core/config.ts";
import { systemRandom } from "../src/core/random.ts";
import { newKey } from "../src/demo/vendor.ts";
import { createDeveloper, type Developer } from "../src/developer/developer.ts";
import { signInUser, signUpUser } from "../src/developer/users.ts";
import { clientConfigSchema } from "../src/directory/client-config.ts";
import { type Connections, createConnections } from "../src/directory/connections.ts";
import { meshDomains, meshSize, prepareMesh } from "../src/operator/mesh.ts";
import { freePorts, startMesh } from "../src/operator/processes.ts";
import type { SigningKey } from "../src/statement/crypto.ts";
import type { Setting } from "./harness.ts";

/** A mesh of separate processes with one app, as `npm start` runs it, and those who use it. */
export interface BenchMesh {
  readonly directory: string;
  readonly connections: Connections;
  readonly developer: Developer;
  readonly master: SigningKey;
  readonly appId: string;
  /** A provider whose key is ours; nothing runs for it. */
  readonly stranger: { readonly domain: string; readonly key: SigningKey };
  /** The URL at which a part is reached. */
  urlOf(domain: string): string;
}

/** Starts a mesh with an app that has an Auth Provider; it stops with the row. */
export async function startBenchMesh({ cleanUp }: Pick<Setting, "cleanUp">): Promise<BenchMesh> {
  const directory = mkdtempSync(join(tmpdir(), "omi-bench-"));
  cleanUp(() => rmSync(directory, { recursive: true }));
  const ports = await freePorts(meshSize);
  const stranger = { domain: "stranger.test", key: newKey() };
  const strangers = [{ ...stranger, port: ports[0] ?? 0 }];
  const mesh = prepareMesh(directory, { ports, random: systemRandom, strangers });
  const running = await startMesh(mesh);
  cleanUp(() => running.stop());
  const config = loadConfig(clientConfigSchema, { file: mesh.clientFile, env: {}, prefix: "OMI_" });
  const connections = createConnections(config, { clock: systemClock, random: systemRandom });
  cleanUp(() => connections.close());

  const master = newKey();
  const developer = createDeveloper({ masterKey: master, connections, clock: systemClock, random: systemRandom });
  const { registry, auth } = meshDomains;
  await developer.claimNamespace({ registry, namespace: "bench" });
  const { appId } = await developer.registerApp({ registry, namespace: "bench", slug: "shop", displayName: "Shop" });
  await developer.provisionAuth({ appId, provider: auth });
  return {
    ...{ directory, connections, developer, master, appId, stranger },
    urlOf(domain) {
      const member = mesh.members.find((each) => each.domain === domain);
      if (member === undefined) throw new Error(`nothing runs for ${domain}`);
      return `http://127.0.0.1:${member.port}`;
    },
  };
}

/** A user of the app, signed in for a service: what stands behind `Bearer`. */
export async function newUserToken({ connections, appId }: BenchMesh, serviceId: string): Promise<string> {
  const credentials = { appId, userName: "bob", password: "correct horse battery staple" };
  await signUpUser(connections, credentials);
  const { accessToken } = await signInUser(connections, { ...credentials, serviceId });
  return accessToken;
}
