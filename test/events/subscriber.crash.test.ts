import { expect, test, vi } from "vitest";
import { subscriberFailpoints } from "../../src/events/subscriber/failpoints.ts";
import { bindTestService, registerTestApp } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { startRegistry } from "../support/registry.ts";
import { Crash } from "../tenancy/crash.ts";
import { countTo, eventsOf, listen, untilAt } from "./support.ts";

test.each(subscriberFailpoints)("a crash at %s loses no effect, and makes none twice", async (name) => {
  const registry = await startRegistry();
  const app = await registerTestApp(registry);
  const databaseFile = `${temporaryFolder()}/part.db`;
  const crash = new Crash(name);
  const crashing = await listen(registry, [app.appId], { databaseFile, failpoint: crash.failpoint });
  for (const serviceId of ["article-1", "article-2"]) await bindTestService(registry, app, serviceId);
  for (const event of await eventsOf(registry, app.appId)) {
    await crashing.carrier.deliver({ event }).catch(() => {});
  }
  await vi.waitFor(() => expect(crash.happened).toBe(true));
  await crashing.stop();

  const later = await listen(registry, [app.appId], { databaseFile });
  await later.carrier.bring(...(await eventsOf(registry, app.appId)));
  await untilAt(later, app.appId, 3);
  expect(later.sequencesOf(app.appId)).toEqual(countTo(3));
});
