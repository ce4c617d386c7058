import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { addUser, type NewUser } from "../../src/auth/add-user.ts";
import { addOperatorCommands } from "../../src/operator/program.ts";
import { runHere } from "../cli/support.ts";
import { registerTestApp } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testBytes } from "../support/keys.ts";
import { cheapHash, outcomeOf, SERVICE_ID, startAnnouncedMesh, terminateOf } from "./support.ts";

const password = "correct horse battery";

/** An Auth Provider that lets nobody sign up, and its operator. */
async function startClosed() {
  const databaseFile = join(temporaryFolder(), "auth.db");
  const mesh = await startAnnouncedMesh({ signUp: "closed", databaseFile });
  const { appId } = mesh.app;
  const { clock, users } = mesh.provider;
  const add = (changes: Partial<NewUser> = {}) =>
    addUser(
      databaseFile,
      { appId, userName: "bob", password, ...changes },
      { clock, random: testBytes, passwordHash: cheapHash },
    );
  const signIn = (changes: { userName?: string; password?: string } = {}) =>
    users.signIn({ appId, userName: "bob", password, serviceId: SERVICE_ID, ...changes });
  return { ...mesh, databaseFile, appId, add, signIn };
}

describe("an operator", () => {
  test("adds a user beside the running provider, who signs in at once", async () => {
    const { add, signIn } = await startClosed();
    expect(await outcomeOf(signIn())).toBe("CREDENTIALS_INVALID");
    expect(await add({ userName: "Bob" })).toMatch(/^user:[\w-]{22}$/);
    expect(await outcomeOf(signIn())).toBe("ok");
    expect(await outcomeOf(signIn({ password: "wrong password" }))).toBe("CREDENTIALS_INVALID");
  });

  test("adds many while users sign in", async () => {
    const { add, signIn } = await startClosed();
    const names = Array.from({ length: 10 }, (_, i) => `user-${i}`);
    await Promise.all([
      ...names.map((userName) => add({ userName })),
      ...names.map((userName) => outcomeOf(signIn({ userName }))),
    ]);
    for (const userName of names) expect(await outcomeOf(signIn({ userName }))).toBe("ok");
  });

  test("adds nobody twice", async () => {
    const { add, signIn } = await startClosed();
    await add();
    expect(await outcomeOf(add({ userName: "BOB", password: "another password" }))).toBe("USER_EXISTS");
    expect(await outcomeOf(signIn())).toBe("ok");
  });

  test("adds nobody with a name or password that sign-up would refuse, nor to an app that isn't one", async () => {
    const { add, registry } = await startClosed();
    expect(await outcomeOf(add({ password: "1234567" }))).toBe("FIELD_INVALID password min_length");
    expect(await outcomeOf(add({ userName: " bob" }))).toBe("FIELD_INVALID user_name format");
    expect(await outcomeOf(add({ appId: "shop" }))).toBe("FIELD_INVALID app_id format");
    expect(await outcomeOf(add({ appId: (await registerTestApp(registry)).appId }))).toBe("TENANT_UNKNOWN");
  });

  test("adds nobody to an app that was terminated", async () => {
    const { add, provider, app } = await startClosed();
    await provider.tenancy.terminateService({ statement: terminateOf(provider, app) });
    expect(await outcomeOf(add())).toBe("TENANT_TERMINATED");
  });
});

describe("omi auth-provider add-user", () => {
  async function run(databaseFile: string, appId: string, env: Record<string, string> = {}, stdin = "") {
    const file = stdin === "" ? [] : ["--password-file", "-"];
    const args = ["auth-provider", "add-user", appId, "--database", databaseFile, "--user", "bob", ...file, "--json"];
    return runHere(args, { env, stdin, operator: addOperatorCommands });
  }

  test("takes the password from standard input, or else from the environment", async () => {
    const { databaseFile, appId, signIn } = await startClosed();
    const { code, stdout } = await run(databaseFile, appId, {}, `${password}\n`);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ subject: expect.stringMatching(/^user:/) });
    expect(await outcomeOf(signIn())).toBe("ok");
    const again = await run(databaseFile, appId, { OMI_PASSWORD: password });
    expect(again.code).toBe(1);
    expect(JSON.parse(again.stderr)).toMatchObject({ error: { reason: "USER_EXISTS" } });
  });

  test("makes no file, and needs a password", async () => {
    const { databaseFile, appId } = await startClosed();
    expect((await run(databaseFile, appId)).code).toBe(2);
    expect((await run(`${databaseFile}.gone`, appId, { OMI_PASSWORD: password })).code).toBe(2);
  });
});
