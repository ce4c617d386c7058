import type { MessageInitShape } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { systemClock, unixSeconds } from "../../src/core/clock.ts";
import { Reason } from "../../src/core/refusal.ts";
import { signedMessages } from "../../src/developer/contract.ts";
import { rebuildRegistry } from "../../src/operator/commands.ts";
import { meshDomains } from "../../src/operator/mesh.ts";
import { signStatement } from "../../src/statement/statement.ts";
import { liveApp } from "./support/app-life.ts";
import {
  askProvidersAgain,
  askRegistryAgain,
  reuseNonces,
  type SignAgain,
  terminateAgain,
} from "./support/ask-again.ts";
import { auditProvider } from "./support/audit-provider.ts";
import { auditRegistry } from "./support/audit-registry.ts";
import { auditStories } from "./support/audit-stories.ts";
import { Calls } from "./support/calls.ts";
import type { Chance } from "./support/chance.ts";
import { accountedConnections } from "./support/connections.ts";
import { type FaultMesh, providerNames, withFaultMesh } from "./support/fault-mesh.ts";
import { Killer } from "./support/killer.ts";
import { countLostAnswers } from "./support/lost-answers.ts";
import { readSpent } from "./support/nonces.ts";
import { opened } from "./support/opened.ts";
import { type RegistryFacts, readRegistry } from "./support/registry-facts.ts";
import { followServices } from "./support/service-history.ts";
import { settings } from "./support/settings.ts";
import type { AppStory } from "./support/story.ts";
import { TestDeveloper } from "./support/test-developer.ts";
import { TestUsers } from "./support/test-users.ts";

/** Developers who work at the same time. Every other one is patient. */
const DEVELOPERS = 6;

/** After how many rounds there is a line about them. */
const ROUNDS_A_LINE = 10;

const { registry } = meshDomains;

test("whatever is killed whenever, what developers began ends once, and all parts agree", async () => {
  await withFaultMesh(async (mesh, chance) => {
    const world = createWorld(mesh, chance);
    await world.killer.killFirstStarts();
    await mesh.start();
    await killWhileDevelopersWork(world);
    world.calls.isOver = true;
    // Whatever is left under way is finished by a start with all others at hand.
    await mesh.stop();
    await mesh.start();
    await mesh.stop();
    const facts = readRegistry(mesh.databaseFile("registry"));
    const spent = readSpent((["registry", ...providerNames] as const).map((name) => mesh.databaseFile(name)));
    await mesh.start();
    await expectSameOutcomes(world, facts, spent);
    await mesh.stop();
    expectAgreement(world, facts);
    expect(mesh.loggedErrors()).toEqual([]);
  });
});

type World = ReturnType<typeof createWorld>;

function createWorld(mesh: FaultMesh, chance: Chance) {
  const calls = new Calls();
  const connections = {
    patient: accountedConnections(mesh.mesh, calls, "patient"),
    impatient: accountedConnections(mesh.mesh, calls, "impatient"),
  };
  const developers = Array.from({ length: DEVELOPERS }, (_, index) => ({
    developer: new TestDeveloper(index % 2 === 0 ? "patient" : "impatient", connections),
    namespace: `developer-${index}`,
    chance: chance.fork(),
  }));
  const users = new TestUsers(connections.patient);
  const killer = new Killer(mesh, calls, chance.fork());
  return { mesh, calls, connections, developers, users, killer, stories: [] as AppStory[] };
}

/** Kills in rounds while developers make one app after the other. Returns when their last apps are done. */
async function killWhileDevelopersWork({ mesh, killer, developers, users, stories, calls }: World): Promise<void> {
  const begun = Date.now();
  let over = false;
  const work = developers.map(async ({ developer, namespace, chance }) => {
    await developer.patient.claimNamespace({ registry, namespace });
    for (let number = 1; !over; number++) {
      stories.push(await liveApp({ developer, namespace, users, chance }, `app-${number}`));
    }
  });
  const kills = async () => {
    for (let round = 1; round <= settings.rounds; round++) {
      await killer.round();
      if (round % ROUNDS_A_LINE !== 0) continue;
      const killed = Object.values(mesh.members).map(
        ({ member, kills, stops }) => `${member.name} ${kills} + ${stops}`,
      );
      const seconds = Math.round((Date.now() - begun) / 1000);
      console.log(
        `${round}/${settings.rounds} rounds, ${seconds} s; killed + stopped: ${killed.join(", ")}; ${stories.length} apps done,` +
          ` ${calls.cut} calls cut`,
      );
    }
    await killer.done();
    over = true;
  };
  await Promise.all([...work, kills()]).finally(() => {
    over = true;
  });
}

/**
 * Everything that was answered is asked again: the outcomes are the same, receipts to the byte, and nothing happens. Nobody has
 * forgotten a nonce.
 */
async function expectSameOutcomes(
  { calls, connections, developers }: World,
  { log }: RegistryFacts,
  spent: ReadonlySet<string>,
) {
  const { patient } = connections;
  const masters = new Map(developers.map(({ developer: { masterKey } }) => [masterKey.keyId, masterKey]));
  const signAgain: SignAgain = (statement, nonce) => {
    const { message, header } = opened(statement);
    const schema = signedMessages.getMessage(statement.type);
    const master = masters.get(header.signer);
    if (schema === undefined || master === undefined) throw new Error("signed by no developer");
    const again = { ...message, header: { ...header, timestamp: BigInt(unixSeconds(systemClock)), nonce } };
    return signStatement(schema, again as MessageInitShape<typeof schema>, master);
  };
  expect(await askProvidersAgain(calls, patient)).toEqual([]);
  expect(await terminateAgain(calls, patient, signAgain)).toEqual([]);
  const transport = await patient.transportFor(registry, Reason.REGISTRY_UNAVAILABLE);
  expect(await askRegistryAgain(log, transport)).toEqual([]);
  expect(await reuseNonces(calls, patient, spent, signAgain)).toEqual([]);
}

/** The files of all parts fit together, and to what developers and users were told. */
function expectAgreement({ mesh, stories, calls }: World, before: RegistryFacts): void {
  const facts = readRegistry(mesh.databaseFile("registry"));
  expect(facts.log.length, "entries of the log, after all was asked again").toBe(before.log.length);
  const { histories, problems } = followServices(facts);
  const truth = { facts, histories };
  problems.push(...auditRegistry(facts, histories), ...auditStories(mesh, stories, truth));
  for (const name of providerNames) {
    problems.push(...auditProvider(mesh.databaseFile(name), mesh.members[name].member.domain, truth));
  }
  expect(problems).toEqual([]);
  expect(rebuildRegistry(mesh.databaseFile("registry"), () => {})).toMatchObject({ equal: true });
  console.log(
    `${stories.length} apps, ${facts.log.length} log entries, ${calls.answered.length} Statements answered to developers;` +
      ` ${calls.cut} calls cut, at least ${countLostAnswers(facts, calls)} of them after the registry's commit`,
  );
}
