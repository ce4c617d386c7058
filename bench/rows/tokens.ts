import { startChild } from "../child.ts";
import type { Loop } from "../children/loops.ts";
import type { Contender, Row, Setting } from "../harness.ts";
import { opensslSpeed } from "../tools.ts";

async function looping(setting: Setting, loop: Loop): Promise<Contender> {
  const loops = await startChild("loops", {}, setting);
  return {
    name: loop,
    measure: async (seconds) => (await loops.ask<{ rate: number }>({ loop, seconds })).rate,
  };
}

/** Tokens: the Auth Provider signs them, every service verifies them. */
export const tokenRows: readonly Row[] = [
  {
    name: "token-issue",
    what: "access token signed",
    against: "openssl speed ed25519, sign, one process",
    reach: 0.85,
    needs: ["openssl"],
    prepare: async (setting) => [
      await looping(setting, "token-issue"),
      { name: "openssl", measure: async (seconds) => (await opensslSpeed(seconds)).sign },
    ],
  },
  {
    name: "token-verify",
    what: "access token verified",
    against: "openssl speed ed25519, verify, one process",
    reach: 0.9,
    needs: ["openssl"],
    prepare: async (setting) => [
      await looping(setting, "token-verify"),
      { name: "openssl", measure: async (seconds) => (await opensslSpeed(seconds)).verify },
    ],
  },
  {
    name: "token-seen",
    what: "access token that was verified before",
    against: "500,000 a second",
    reach: 1,
    needs: [],
    prepare: async (setting) => [await looping(setting, "token-seen")],
    ratio: (rates) => (rates.get("token-seen") ?? Number.NaN) / 500_000,
  },
];
