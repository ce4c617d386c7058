import { expect, test } from "vitest";
import { bindTestService, registerTestApp, rotationOf } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testKey } from "../support/keys.ts";
import { runRegistry } from "../support/registry.ts";
import { LiveClock } from "./support/live-clock.ts";
import { startNats } from "./support/nats-server.ts";
import {
  countTo,
  firstSequences,
  publisherTo,
  shortMemory,
  storedEvents,
  untilPublished,
} from "./support/publishing.ts";

const crashes = 100;

test(`a registry that dies ${crashes} times between commit and publishing publishes everything, in order`, async () => {
  const nats = await startNats();
  const clock = new LiveClock();
  let dies = false;
  const options = {
    clock,
    databaseFile: `${temporaryFolder()}/registry.db`,
    publisher: publisherTo(nats, { stream: shortMemory }),
    // After the commit and before anybody hears of it.
    failpoint(name: string) {
      if (dies && name === "rotate-key.after-commit") throw new Error("dies");
    },
  };
  let registry = await runRegistry(options);
  const app = await registerTestApp(registry);
  let service = await bindTestService(registry, app);
  for (let number = 0; number < crashes; number++) {
    const key = testKey(`rotation ${number}`);
    dies = true;
    await expect(
      registry.registry.rotateKey({ statement: rotationOf(clock, service, key, { immediate: true }) }),
    ).rejects.toThrow();
    dies = false;
    service = { ...service, key };
    await registry.stop();
    registry = await runRegistry(options);
  }
  await untilPublished(registry);
  expect(firstSequences(await storedEvents(nats), app.appId)).toEqual(countTo(crashes + 2));
  await registry.stop();
});
