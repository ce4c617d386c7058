import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { nkeys } from "nats";
import { expect, test } from "vitest";
import { toBase64Url, toHex, utf8 } from "../../src/core/bytes.ts";
import { KeyFileError } from "../../src/core/key-file.ts";
import { registerTestApp } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testBytes } from "../support/keys.ts";
import { startRegistry } from "../support/registry.ts";
import { LiveClock } from "./support/live-clock.ts";
import { startNats, type TestNats } from "./support/nats-server.ts";
import { countTo, publisherTo, untilPublished } from "./support/publishing.ts";

type KeyPair = ReturnType<typeof nkeys.createUser>;

/** A NATS JWT: its claims, signed by whoever issues it. */
function jwt(issuer: KeyPair, subject: KeyPair, name: string, nats: object): string {
  const claims = {
    jti: toHex(testBytes(16)),
    iat: Math.floor(Date.now() / 1000),
    iss: issuer.getPublicKey(),
    sub: subject.getPublicKey(),
    name,
    nats: { version: 2, ...nats },
  };
  const encode = (value: object) => toBase64Url(utf8(JSON.stringify(value)));
  const signed = `${encode({ typ: "JWT", alg: "ed25519-nkey" })}.${encode(claims)}`;
  return `${signed}.${toBase64Url(issuer.sign(utf8(signed)))}`;
}

const unlimited = Object.fromEntries(
  ["subs", "data", "payload", "imports", "exports", "conn", "leaf"].map((limit) => [limit, -1]),
);
const storage = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };

/** A server that lets in those whose credentials its operator's account signed, and such credentials. */
async function startWithCredentials(): Promise<{ nats: TestNats; credentialsFile: string }> {
  const [operator, system, account, user] = [
    nkeys.createOperator(),
    nkeys.createAccount(),
    nkeys.createAccount(),
    nkeys.createUser(),
  ];
  const limits = { ...unlimited, wildcards: true };
  const preload = {
    [system.getPublicKey()]: jwt(operator, system, "SYS", { type: "account", limits }),
    [account.getPublicKey()]: jwt(operator, account, "OMI", { type: "account", limits: { ...limits, ...storage } }),
  };
  const operatorJwt = jwt(operator, operator, "operator", {
    type: "operator",
    system_account: system.getPublicKey(),
  });
  const nats = await startNats({
    configure({ folder, store, port }) {
      const path = join(folder, "nats.conf");
      writeFileSync(
        path,
        `listen: "127.0.0.1:${port}"
         jetstream { store_dir: ${JSON.stringify(store)} }
         operator: ${JSON.stringify(operatorJwt)}
         system_account: ${system.getPublicKey()}
         resolver: MEMORY
         resolver_preload: ${JSON.stringify(preload)}`,
      );
      return path;
    },
  });
  const credentialsFile = join(temporaryFolder(), "nats.creds");
  const seed = new TextDecoder().decode(user.getSeed());
  const token = jwt(account, user, "registry", { type: "user", subs: -1, data: -1, payload: -1 });
  writeFileSync(
    credentialsFile,
    `-----BEGIN NATS USER JWT-----\n${token}\n------END NATS USER JWT------\n
-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`,
    { mode: 0o600 },
  );
  return { nats, credentialsFile };
}

test("a registry publishes with a credentials file, and nobody without one", async () => {
  const { nats, credentialsFile } = await startWithCredentials();
  const registry = await startRegistry({ clock: new LiveClock(), publisher: publisherTo(nats, { credentialsFile }) });
  for (const _ of countTo(3)) await registerTestApp(registry);
  await untilPublished(registry);
  await expect(publisherTo(nats).connect(new AbortController().signal)).rejects.toMatchObject({
    code: "AUTHORIZATION_VIOLATION",
  });
});

test("credentials that others can read are not used", async () => {
  const { nats, credentialsFile } = await startWithCredentials();
  chmodSync(credentialsFile, 0o640);
  const connecting = publisherTo(nats, { credentialsFile }).connect(new AbortController().signal);
  await expect(connecting).rejects.toBeInstanceOf(KeyFileError);
});
