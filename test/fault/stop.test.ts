import { createClient } from "@connectrpc/connect";
import BetterSqlite3 from "better-sqlite3";
import { expect, test } from "vitest";
import { ProvisionAuthSchema } from "../../gen/omi/auth/v1/auth_pb.ts";
import { AuthProviderService } from "../../gen/omi/auth/v1/auth_service_pb.ts";
import { AppManifestSchema } from "../../gen/omi/registry/v1/app_pb.ts";
import { toHex } from "../../src/core/bytes.ts";
import { systemClock } from "../../src/core/clock.ts";
import { systemRandom } from "../../src/core/random.ts";
import { Reason } from "../../src/core/refusal.ts";
import { signFor } from "../../src/demo/vendor.ts";
import { createDeveloper } from "../../src/developer/developer.ts";
import { mayPass } from "../../src/developer/retry.ts";
import { generateSigningKey } from "../../src/developer/signing-key.ts";
import { meshDomains } from "../../src/operator/mesh.ts";
import { statementId } from "../../src/statement/statement.ts";
import { Calls } from "./support/calls.ts";
import { accountedConnections } from "./support/connections.ts";
import { type FaultMesh, type PartName, withFaultMesh } from "./support/fault-mesh.ts";
import { TestUsers } from "./support/test-users.ts";
import { milliseconds } from "./support/wait.ts";

const { registry, auth, articles } = meshDomains;

const ROUNDS = 4;
const WRITERS = 32;

/** Something that can be written to a part as often as one likes. */
interface Writable {
  readonly part: PartName;
  /** Writes once more. Returns the name of what was written, once the part has confirmed it. */
  write(): Promise<string>;
  /** The names of all that was ever written so, from the part's file. */
  readAll(): string[];
}

test("a part that is told to stop amid many writes has kept exactly those that it confirmed", async () => {
  await withFaultMesh(async (mesh, chance) => {
    await mesh.start();
    for (const { part, write, readAll } of await writables(mesh)) {
      const confirmed = readAll();
      for (let round = 1; round <= ROUNDS; round++) {
        let told = false;
        const writers = Array.from({ length: WRITERS }, async () => {
          for (;;) {
            try {
              confirmed.push(await write());
            } catch (error) {
              expect(told && mayPass(error), `${part} refuses before it is told to stop, or wrongly: ${error}`).toBe(
                true,
              );
              return;
            }
          }
        });
        await milliseconds(200 + chance.below(500));
        told = true;
        expect(await mesh.members[part].stop(), `${part}'s exit code`).toBe(0);
        await Promise.all(writers);
        expect(new Set(readAll()), `${part}, round ${round}`).toEqual(new Set(confirmed));
        mesh.members[part].start();
        await mesh.members[part].serving;
      }
      console.log(`${part}: stopped ${ROUNDS} times, ${confirmed.length} writes confirmed`);
    }
    expect(mesh.loggedErrors()).toEqual([]);
  });
});

async function writables(mesh: FaultMesh): Promise<Writable[]> {
  const masterKey = generateSigningKey(systemRandom);
  const connections = accountedConnections(mesh.mesh, new Calls(), "impatient");
  const developer = createDeveloper({ masterKey, connections, clock: systemClock, random: systemRandom });
  await developer.claimNamespace({ registry, namespace: "alice" });
  const { appId } = await developer.registerApp({ registry, namespace: "alice", slug: "first", displayName: "First" });
  await developer.provisionAuth({ appId, provider: auth });
  const order = { appId, provider: articles, serviceType: "cms-article", serviceId: "articles" };
  await developer.provisionService(order);

  const client = connections.registries.forDomain(registry);
  const authProvider = createClient(
    AuthProviderService,
    await connections.transportFor(auth, Reason.DEADLINE_EXCEEDED),
  );
  const users = new TestUsers(connections);
  const userName = (await users.signUp(appId)) ?? "";
  const writeArticle = await users.writer(appId, userName, { serviceId: "articles", provider: articles });
  const read = (file: string, sql: string) => {
    const db = new BetterSqlite3(file, { readonly: true });
    const names = db.prepare<[], string>(sql).pluck().all();
    db.close();
    return names;
  };
  let apps = 0;
  return [
    {
      part: "registry",
      async write() {
        const projectSlug = `app-${++apps}`;
        const manifest = { ownerNamespace: "alice", projectSlug, displayName: projectSlug };
        await client.registerApp(signFor(registry, AppManifestSchema, manifest, masterKey));
        return projectSlug;
      },
      readAll: () => read(mesh.databaseFile("registry"), "SELECT project_slug FROM apps"),
    },
    {
      part: "auth-provider",
      async write() {
        const statement = signFor(auth, ProvisionAuthSchema, { appId }, masterKey);
        await authProvider.provisionAuth({ statement });
        return toHex(statementId(statement));
      },
      readAll: () => read(mesh.databaseFile("auth-provider"), "SELECT lower(hex(order_id)) FROM provision_orders"),
    },
    {
      part: "cms-article",
      write: writeArticle,
      readAll: () => read(mesh.articlesFile("cms-article"), "SELECT article_id FROM articles"),
    },
  ];
}
