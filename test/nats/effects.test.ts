import { describeEffects } from "../events/effects.ts";
import { startRegistry } from "../support/registry.ts";
import { carrierFrom } from "./support/listening.ts";
import { LiveClock } from "./support/live-clock.ts";
import { startNats } from "./support/nats-server.ts";
import { publisherTo } from "./support/publishing.ts";

describeEffects("NATS", async () => {
  const nats = await startNats();
  const registry = await startRegistry({ clock: new LiveClock(), publisher: publisherTo(nats) });
  return { registry, carrierFor: (part) => carrierFrom(nats, { consumer: part }) };
});
