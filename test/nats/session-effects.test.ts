import { describeSessionEffects } from "../events/session-effects.ts";
import { startNats } from "./support/nats-server.ts";
import { sessionCarriersFrom, sessionPublisherTo } from "./support/sessions.ts";

describeSessionEffects("NATS", async () => {
  const nats = await startNats();
  return { sessionPublisher: sessionPublisherTo(nats), carrierFor: sessionCarriersFrom(nats) };
});
