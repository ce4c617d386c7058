import type { Logger } from "pino";
import type { Clock } from "../../core/clock.ts";
import type { Limits } from "../call/limits.ts";
import type { OpenStreams } from "../call/open-streams.ts";
import type { RequestIds } from "../call/request-id.ts";
import type { Handlers } from "../handlers/handlers.ts";
import type { AccessLog } from "../http/access-log.ts";
import type { CorsOptions } from "../http/cors.ts";
import type { PeerFinder } from "../http/trusted-proxies.ts";
import type { ReadyAnswers } from "../ready/ready-answers.ts";
import type { ReadyStreams } from "../ready/ready-streams.ts";

/** What the fast path of a server is made of. */
export type FastPathOptions = {
  /** The RPCs that can be called without connect, by path. */
  readonly rpcs: Handlers["unary"];
  readonly answers?: ReadyAnswers | undefined;
  readonly readyStreams?: ReadyStreams | undefined;
  /** Those that are open, so that they can be counted, and ended when the server stops. */
  readonly streams: OpenStreams;
  readonly cors: CorsOptions | undefined;
  readonly limits: Limits;
  readonly logger: Logger;
  readonly accessLog: AccessLog;
  readonly clock: Clock;
  readonly requestId: RequestIds;
  readonly peerOf: PeerFinder;
  /** True once the server stops: then nothing new is started. */
  readonly stopping: () => boolean;
};
