import { AckPolicy, connect, DeliverPolicy } from "nats";
import { childOptions, monotonicMicros, serveLines } from "./lines.ts";

/** The floor: the other end of messages over a NATS server, with nothing behind it. */
export interface NatsEchoOptions {
  /** `host:port`. */
  readonly server: string;
  /** Sends back what comes here. */
  readonly echo: string;
  /** A stream, of which what comes is acknowledged and its time noted. */
  readonly stream: string;
}

/** When so many messages of the stream had come, in microseconds. */
export type NatsEchoQuestion = { readonly count: number };

const { server, echo, stream } = childOptions<NatsEchoOptions>();
const connection = await connect({ servers: server });
connection.subscribe(echo, { callback: (_, message) => void message.respond(message.data) });
const manager = await connection.jetstreamManager();
await manager.consumers.add(stream, {
  durable_name: "bare",
  ack_policy: AckPolicy.Explicit,
  deliver_policy: DeliverPolicy.New,
});
let times: number[] = [];
let wake = () => {};
const consumer = await connection.jetstream().consumers.get(stream, "bare");
await consumer.consume({
  callback(message) {
    times.push(monotonicMicros());
    message.ack();
    wake();
  },
});
await connection.flush();
await serveLines<NatsEchoQuestion>(
  {},
  async ({ count }) => {
    while (times.length < count) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    const taken = times;
    times = [];
    return taken;
  },
  () => process.exit(),
);
