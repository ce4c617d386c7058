import { systemRandom } from "../../src/core/random.ts";
import { createWatchCarrier } from "../../src/events/watch-carrier.ts";
import { LiveClock } from "../nats/support/live-clock.ts";
import { startRegistry } from "../support/registry.ts";
import { logger, wayTo } from "../tenancy/support.ts";
import { describeEffects } from "./effects.ts";

describeEffects("Watch", async () => {
  const clock = new LiveClock();
  const registry = await startRegistry({ clock });
  return {
    registry,
    carrierFor: () => createWatchCarrier({ registries: wayTo(registry), clock, random: systemRandom, logger }),
  };
});
