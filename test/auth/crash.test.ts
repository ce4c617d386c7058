import { expect, test } from "vitest";
import type { TokenSet } from "../../gen/omi/auth/v1/auth_service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { authFailpoints } from "../../src/auth/failpoints.ts";
import {
  bindTestService,
  present,
  registerTestApp,
  type TestApp,
  type TestService,
  unbindOf,
} from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { startRegistry } from "../support/registry.ts";
import { tokenRequestOf, tokensOf } from "./service-tokens.ts";
import {
  announce,
  announceAnswer,
  outcomeOf,
  provision,
  provisionOf,
  type RunningProvider,
  rotateOf,
  SERVICE_ID,
  startProvider,
  terminateOf,
} from "./support.ts";

/** What one run of the story has come by so far. */
type Story = {
  readonly app: TestApp;
  readonly service: TestService;
  readonly order: Statement;
  rotation?: Statement;
  termination?: Statement;
  tokenRequest?: Statement;
  tokens?: TokenSet;
};

type Step = {
  /** What the caller does; repeated with the same bytes if it failed. */
  readonly act: (provider: RunningProvider, story: Story) => Promise<unknown>;
  /** How it ends: `ok`, or a Reason. */
  readonly outcome: string;
  /** The job after whose commit the repetition ends in another way. */
  readonly once?: { readonly job: string; readonly repeated: string };
};

const alice = { userName: "alice", password: "correct horse battery" };

async function takeTokens(story: Story, call: Promise<{ tokens?: TokenSet | undefined }>): Promise<void> {
  story.tokens = present((await call).tokens);
}

const steps: readonly Step[] = [
  { act: (provider, { order }) => provision(provider, order), outcome: "ok" },
  {
    // The developer's own step between two of ours, with a new answer to the same order.
    act: async (provider, { app, order }) => {
      const { answer } = await provision(provider, order);
      await announceAnswer(provider, app, answer);
      await announce(provider, app);
    },
    outcome: "ok",
  },
  {
    act: (provider, story) => {
      story.rotation ??= rotateOf(provider, story.app);
      return provider.tenancy.rotateServiceKey({ statement: story.rotation });
    },
    outcome: "ok",
  },
  {
    act: ({ users }, { app }) => users.signUp({ appId: app.appId, ...alice }),
    outcome: "ok",
    once: { job: "sign-up", repeated: "USER_EXISTS" },
  },
  {
    act: ({ users }, { app }) => users.signIn({ appId: app.appId, ...alice, password: "wrong", serviceId: SERVICE_ID }),
    outcome: "CREDENTIALS_INVALID",
  },
  {
    act: ({ users }, story) =>
      takeTokens(story, users.signIn({ appId: story.app.appId, ...alice, serviceId: SERVICE_ID })),
    outcome: "ok",
  },
  {
    act: ({ users }, story) => {
      const { refreshToken } = present(story.tokens);
      return takeTokens(story, users.refreshToken({ appId: story.app.appId, refreshToken, serviceId: SERVICE_ID }));
    },
    outcome: "ok",
    once: { job: "refresh-token", repeated: "REFRESH_TOKEN_INVALID" },
  },
  {
    act: (provider, story) => {
      story.tokenRequest ??= tokenRequestOf(provider, story.service, { targetServiceId: "auth" });
      return tokensOf(provider).issueServiceToken({ statement: story.tokenRequest });
    },
    outcome: "ok",
    once: { job: "service-token", repeated: "NONCE_REUSED header.nonce" },
  },
  {
    act: ({ users }, { app, tokens }) =>
      users.signOut({ appId: app.appId, refreshToken: present(tokens).refreshToken }),
    outcome: "ok",
  },
  {
    act: (provider, story) => {
      story.termination ??= terminateOf(provider, story.app);
      return provider.tenancy.terminateService({ statement: story.termination });
    },
    outcome: "ok",
  },
];

// Out of the story's reach: a hash that couldn't be computed (see throttle.test.ts), and what happens when a Rotation has
// become too old or was refused (see the tests of tenancy).
const elsewhere = /^(attempt\.give-back|rotation\.sign-again|rotation\.refuse)\./;
const failpoints = authFailpoints.filter((name) => !elsewhere.test(name));

test.each(failpoints)("a crash at %s changes no outcome", async (name) => {
  const databaseFile = `${temporaryFolder()}/auth.db`;
  const registry = await startRegistry();
  const app = await registerTestApp(registry);
  const service = await bindTestService(registry, app, SERVICE_ID);
  let crashed: boolean = false;
  const failpoint = (at: string) => {
    if (at !== name || crashed) return;
    crashed = true;
    throw new Error(`crashed at ${at}`);
  };
  let provider = await startProvider(registry, { databaseFile, failpoint });
  const story: Story = { app, service, order: provisionOf(provider, app) };

  for (const { act, outcome, once } of steps) {
    const before: boolean = crashed;
    const first = await outcomeOf(act(provider, story));
    if (crashed === before) {
      expect(first).toBe(outcome);
      continue;
    }
    expect(first).toBe("INTERNAL");
    await provider.stop();
    provider = await startProvider(registry, { databaseFile, failpoint });
    const repeated = name === `${once?.job}.after-commit` ? once?.repeated : outcome;
    expect(await outcomeOf(act(provider, story))).toBe(repeated);
  }

  expect(crashed).toBe(true);
  // Whatever happened on the way, the tenant is gone with a receipt that the registry believes.
  const { receipt } = await provider.tenancy.terminateService({ statement: present(story.termination) });
  const unbind = unbindOf(provider.clock, { app, serviceId: "auth", key: app.master }, present(receipt));
  expect(await outcomeOf(registry.registry.unbindService({ statement: unbind }))).toBe("ok");
});
