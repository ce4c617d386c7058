import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { toBase64Url } from "../../src/core/bytes.ts";
import { testKey } from "../support/keys.ts";
import { providers, registryDomain } from "../support/registry.ts";
import { type CliMesh, startCliMesh } from "./support.ts";

type App = {
  app_id: string;
  context?: { auth_keys?: unknown[]; operational_services?: unknown[]; config_epoch?: number };
};
type Service = { service_id: string; status: string; keys?: { key_id: string }[] };

/** A mesh with an app that has an Auth Provider and a service. */
async function startComposed(): Promise<CliMesh & { appId: string; serviceId: string }> {
  const mesh = await startCliMesh();
  await mesh.json("namespace", "claim", "alice");
  const { app_id: appId } = await mesh.json<App>("app", "register", "alice", "shop", "--name", "Shop");
  await mesh.json("auth", "provision", appId, "--provider", providers.auth.domain);
  const order = ["--provider", providers.article.domain, "--type", "cms-article", "--tier", "pro_cluster"];
  const { service_id: serviceId } = await mesh.json<Service>("service", "provision", appId, ...order);
  return { ...mesh, appId, serviceId };
}

describe("a developer", () => {
  test("claims a namespace and shows it", async () => {
    const { json, master } = await startCliMesh();
    const guardian = toBase64Url(testKey("guardian").publicKey);
    await json("namespace", "claim", "alice", "--guardian", guardian, "--email", "alice@example.org");
    expect(await json("namespace", "show", "alice")).toMatchObject({
      namespace: "alice",
      status: "NAMESPACE_STATUS_ACTIVE",
      master_key_id: master.keyId,
      guardian_public_keys: [{ public_key: guardian }],
    });
  });

  test("composes an app, and sees all of it", async () => {
    const { json, run, appId, serviceId } = await startComposed();
    const app = await json<App>("app", "show", appId);
    expect(app.context?.auth_keys).toHaveLength(1);
    const { services } = await json<{ services: Service[] }>("service", "list", appId);
    expect(services.map(({ service_id }) => service_id).sort()).toEqual(["auth", serviceId].sort());
    const table = await run(["service", "list", appId]);
    expect(table.stdout.split("\n").filter((line) => line !== "")).toHaveLength(3);
  });

  test("sets, shows and clears the backbone", async () => {
    const { json, appId } = await startComposed();
    await json(
      "backbone",
      "set",
      appId,
      "--service",
      "billing:invoices=http://billing.test/x",
      "--service",
      "logging:otel=http://otel.test",
    );
    const { operational_services: services } = await json<{ operational_services: unknown[] }>(
      "backbone",
      "show",
      appId,
    );
    expect(services).toEqual([
      { role: "OPERATIONAL_ROLE_BILLING", name: "invoices", url: "http://billing.test/x" },
      { role: "OPERATIONAL_ROLE_LOGGING", name: "otel", url: "http://otel.test" },
    ]);
    expect(await json("backbone", "set", appId, "--clear")).toMatchObject({ operational_services: [] });
  });

  test("rotates, suspends, restores and ends a service", async () => {
    const { json, appId, serviceId } = await startComposed();
    const ref = [appId, serviceId];
    expect((await json<Service>("rotate", ...ref, "--grace", "600")).keys).toHaveLength(2);
    expect((await json<Service>("rotate", ...ref, "--immediate")).keys).toHaveLength(1);
    expect((await json<Service>("suspend", ...ref)).status).toBe("SERVICE_STATUS_SUSPENDED");
    expect((await json<Service>("master-reset", ...ref)).status).toBe("SERVICE_STATUS_ACTIVE");
    expect(await json("service", "terminate", ...ref, "--wipe")).toMatchObject({
      service: { status: "SERVICE_STATUS_REVOKED" },
      receipt: { status: "TERMINATION_STATUS_SUCCESS" },
      repeated: false,
    });
    expect((await json<Service>("service", "show", ...ref)).status).toBe("SERVICE_STATUS_REVOKED");
  });

  test("ends a service without its provider", async () => {
    const { json, appId, serviceId } = await startComposed();
    expect((await json<Service>("service", "unbind", appId, serviceId)).status).toBe("SERVICE_STATUS_REVOKED");
  });

  test.each([["registry"], ["namespace", "alice"], ["app", "APP"], ["service", "APP", "SERVICE"]])(
    "resolves %s %s %s",
    async (...what) => {
      const { json, appId, serviceId } = await startComposed();
      const args = what.map((word) => (word === "APP" ? appId : word === "SERVICE" ? serviceId : word));
      for (const fresh of [[], ["--fresh"]]) {
        expect(await json("resolve", ...args, ...fresh)).toMatchObject({
          value: expect.anything(),
          answer: { signer: expect.any(String), issued_at: expect.any(String), expires_at: expect.any(String) },
        });
      }
    },
  );

  test("sees who signed and who verified, beside the result", async () => {
    const { run } = await startCliMesh();
    const { stdout, stderr } = await run(["namespace", "claim", "alice"]);
    expect(stdout).toContain("namespace: alice");
    expect(stderr.split("\n").map((line) => line.split(" ")[0])).toEqual(["signed", "sent", "verified", ""]);
  });
});

test("asks for another activation code, of which an active namespace has no need", async () => {
  const { json } = await startCliMesh();
  await json("namespace", "claim", "alice");
  expect(await json("namespace", "resend-code", "alice")).toMatchObject({ status: "NAMESPACE_STATUS_ACTIVE" });
});

describe("a user", () => {
  test("signs up and in, and the token verifies for that service alone", async () => {
    const { run, json, appId, serviceId, clock, folder } = await startComposed();
    const env = { OMI_PASSWORD: "correct horse battery" };
    expect((await run(["token", "sign-up", appId, "--user", "bob"], { env })).code).toBe(0);
    const passwordFile = join(folder, "password.txt");
    writeFileSync(passwordFile, "correct horse battery\n");
    const signedIn = await run([
      "token",
      "sign-in",
      appId,
      serviceId,
      "--user",
      "bob",
      "--password-file",
      passwordFile,
    ]);
    expect(signedIn.code).toBe(0);
    const verify = ["token", "verify", appId, serviceId, "--token-file", "-", "--json"];
    const verified = await run(verify, { stdin: signedIn.stdout });
    expect(JSON.parse(verified.stdout)).toMatchObject({ app_id: appId, token_use: "user" });
    expect((await run(["token", "verify", appId, "auth", "--token-file", "-"], { stdin: signedIn.stdout })).code).toBe(
      4,
    );
    clock.advance(3600);
    expect((await run(verify, { stdin: signedIn.stdout })).code).toBe(4);
    expect(await json("app", "show", appId)).toBeDefined();
  });

  test("with the wrong password is refused", async () => {
    const { run, appId, serviceId } = await startComposed();
    const args = ["token", "sign-in", appId, serviceId, "--user", "bob", "--password-file", "-", "--json"];
    const { code, stderr } = await run(args, { stdin: "wrong password" });
    expect(code).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ error: { reason: "CREDENTIALS_INVALID" } });
  });
});

test("a provider that can't be reached ends a command with 3", async () => {
  const { run, appId, serviceId, folder } = await startComposed();
  const configFile = join(folder, "omi.json");
  const config = JSON.parse(readFileSync(configFile, "utf8"));
  config.hosts = Object.fromEntries(
    Object.entries(config.hosts).map(([name, at]) => [name, name === registryDomain ? at : "127.0.0.1:1"]),
  );
  writeFileSync(configFile, JSON.stringify(config));
  for (const [host, ...args] of [
    ["auth.test", "token", "sign-in", appId, serviceId, "--user", "bob", "--password-file", "-"],
    ["article.cms.test", "rotate", appId, serviceId],
  ] as const) {
    const { code, stderr } = await run([...args, "--json"], { stdin: "correct horse battery" });
    expect(code).toBe(3);
    const [error] = stderr.trim().split("\n").slice(-1);
    expect(JSON.parse(error ?? "")).toMatchObject({ error: { reason: "PROVIDER_UNAVAILABLE", metadata: { host } } });
  }
});

describe("watch", () => {
  test("shows what happened after a sequence", async () => {
    const { run, appId, serviceId } = await startComposed();
    const { code, stdout } = await run(["watch", appId, "--after", "1", "--limit", "2", "--json"]);
    expect(code).toBe(0);
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(events).toMatchObject([
      { sequence: 2, event: "EVENT_TYPE_AUTH_CHANGED" },
      { sequence: 3, event: "EVENT_TYPE_SERVICE_BOUND", service_id: serviceId },
    ]);
  });

  test("of a whole registry goes on after a log index", async () => {
    const { run, appId } = await startComposed();
    const { stdout } = await run(["watch", "--after", "0", "--limit", "1"]);
    expect(stdout).toContain(appId);
  });

  test("shows what happens from now on, until it is interrupted", async () => {
    const { run, json, appId, serviceId } = await startComposed();
    let interrupt = () => {};
    const onInterrupt = (stop: () => void) => {
      interrupt = stop;
    };
    const watching = run(["watch", appId], { onInterrupt }, () => interrupt());
    // Whatever happens while the command is still on its way belongs to the past, so something happens again and again.
    let done = false;
    void watching.finally(() => {
      done = true;
    });
    while (!done) await json("rotate", appId, serviceId, "--immediate");
    const { code, stdout } = await watching;
    expect(code).toBe(0);
    expect(stdout).toContain("KEY_ROTATION");
  });

  test("ends with 3 when the registry is gone", async () => {
    const { run, registry, appId } = await startComposed();
    await registry.stop();
    expect((await run(["watch", appId, "--after", "0"])).code).toBe(3);
  });
});

describe("log", () => {
  test("shows every entry and verifies the chain", async () => {
    const { run, appId } = await startComposed();
    const { code, stdout } = await run(["log", "--json"]);
    expect(code).toBe(0);
    const entries = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(entries.map(({ index }) => index)).toEqual(entries.map((_, i) => i + 1));
    expect(entries.find(({ effect_type: type }) => type.endsWith("AppRegistered"))?.effect).toMatchObject({
      app_id: appId,
    });
    const readable = await run(["log", "--after", "2", "--limit", "1"]);
    expect(readable.stdout).toMatch(/^#3 /);
  });
});

describe("a command ends with", () => {
  test("1 and the Reason when a party refuses", async () => {
    const { run } = await startCliMesh();
    await run(["namespace", "claim", "alice"]);
    const { code, stdout, stderr } = await run(["namespace", "claim", "alice"]);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toContain("NAMESPACE_TAKEN");
  });

  test("2 without a key, with one that others can read, and with one of another kind", async () => {
    const { run, folder } = await startCliMesh();
    const claim = ["namespace", "claim", "alice"];
    expect((await run(claim, { env: { OMI_KEY: join(folder, "nowhere.json") } })).code).toBe(2);
    await run(["keygen", "--role", "guardian", "--out", join(folder, "guardian.json")]);
    expect((await run([...claim, "--key", join(folder, "guardian.json")])).code).toBe(2);
    chmodSync(join(folder, "master.json"), 0o644);
    expect((await run(claim)).code).toBe(2);
  });

  test.each([
    [["namespace", "claim", "Bad Name"], "namespace_claim", "format"],
    [["namespace", "claim", "x".repeat(33)], "namespace_claim", "max_length"],
    [["namespace", "claim", "alice", "--email", "nobody"], "contact_email", "format"],
    [["namespace", "claim", "alice", "--organization", "x".repeat(500)], "metadata.organization", "max_length"],
    [["namespace", "activate", "Bad Name", "493027"], "namespace", "format"],
    [["app", "register", "alice", "Shop!", "--name", "Shop"], "project_slug", "format"],
  ])("2 for %j, of which nothing is sent", async (args, field, rule) => {
    const { run, registry } = await startCliMesh();
    await registry.stop();
    const { code, stdout, stderr } = await run([...args, "--json"]);
    expect([code, stdout]).toEqual([2, ""]);
    const { error } = JSON.parse(stderr);
    expect(error).toMatchObject({ reason: "FIELD_INVALID", metadata: { field, rule } });
    expect(error.next_step).toContain(field);
  });

  test("2 for a Guardian's key that is none, and for a password that is too short", async () => {
    const { run, registry, appId } = await startComposed();
    await registry.stop();
    const zero = toBase64Url(new Uint8Array(32));
    expect((await run(["namespace", "claim", "bob", "--guardian", zero])).code).toBe(2);
    const signUp = ["token", "sign-up", appId, "--user", "bob", "--password-file", "-"];
    expect((await run(signUp, { stdin: "short" })).code).toBe(2);
  });

  test("2 for an AppID that is none", async () => {
    const { run } = await startCliMesh();
    expect((await run(["app", "show", "shop"])).code).toBe(2);
  });

  test("2 when it is not clear which registry is meant", async () => {
    const { run, folder } = await startCliMesh();
    writeFileSync(join(folder, "empty.json"), "{}");
    expect((await run(["resolve", "registry", "--config", join(folder, "empty.json")])).code).toBe(2);
    expect((await run(["resolve", "registry", "--registry", registryDomain])).code).toBe(0);
  });

  test("2 if it is not said what becomes of the data", async () => {
    const { run } = await startCliMesh();
    expect((await run(["service", "terminate", "app", "service"])).code).toBe(2);
    expect((await run(["service", "terminate", "app", "service", "--wipe", "--retain"])).code).toBe(2);
  });
});
