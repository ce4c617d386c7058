import { describeSessionEffects } from "./session-effects.ts";

describeSessionEffects("WatchSessions", async () => ({}));
