import { readFileSync } from "node:fs";
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { expect, onTestFinished, test } from "vitest";
import { EventSchema } from "../../gen/omi/event/v1/event_pb.ts";
import { WatchRequestSchema, WatchResponseSchema } from "../../gen/omi/event/v1/event_service_pb.ts";
import { StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { openAnswer } from "../../src/statement/statement.ts";
import { RunningFaultMesh } from "./support/event-mesh.ts";
import { withFaultMesh } from "./support/fault-mesh.ts";
import { readRegistry } from "./support/registry-facts.ts";
import { until } from "./support/wait.ts";

/** Clients that open a Watch of all apps and read nothing. */
const CLIENTS = 300;
const STREAMS_OF_A_CONNECTION = 50;

/** So many of them read in the end. */
const READERS = 30;

/** How many bytes of a stream may be on the way. */
const WINDOW_BYTES = 1024;

/** So many events fill all that is on the way to such a client, and what the registry has read for it. */
const EVENTS_ON_THE_WAY = 300;
/** So many more come then. */
const EVENTS = 2000;

/** So many readings of a process's memory, apart by no more than this, count as the same. */
const SAME_READINGS = 50;
const SAME_BYTES = 2 ** 20;

/** How many apps are registered at the same time. */
const AT_ONCE = 32;

/** The memory of a process that is in use, in bytes. */
function memoryOf(processId: number | undefined): number {
  const status = readFileSync(`/proc/${processId}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

/** The same once it stays what it is: streams that are behind send what they can beside other calls, and not before them. */
async function settledMemoryOf(processId: number | undefined): Promise<number> {
  const readings = [memoryOf(processId)];
  await until("the memory in use to stay the same", () => {
    readings.push(memoryOf(processId));
    const [last = 0, ...earlier] = readings.slice(-SAME_READINGS).reverse();
    return earlier.length === SAME_READINGS - 1 && earlier.every((reading) => Math.abs(reading - last) < SAME_BYTES);
  });
  return readings.at(-1) ?? 0;
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}

/** Opens a Watch from the first event of all on, over Connect, and takes nothing until it is told to read. */
function openWatch(session: ClientHttp2Session) {
  const request = toBinary(WatchRequestSchema, create(WatchRequestSchema));
  const envelope = Buffer.alloc(5 + request.length);
  envelope.writeUInt32BE(request.length, 1);
  envelope.set(request, 5);
  const stream: ClientHttp2Stream = session.request({
    ":method": "POST",
    ":path": "/omi.event.v1.EventService/Watch",
    "content-type": "application/connect+proto",
    "connect-protocol-version": "1",
  });
  stream.pause();
  stream.end(envelope);
  const answered = new Promise<void>((resolve, reject) => {
    stream.once("response", ({ ":status": status }) =>
      status === 200 ? resolve() : reject(new Error(`Watch was answered with ${status}`)),
    );
    stream.once("error", reject);
  });
  return { answered, read: () => readEvents(stream) };
}

/** The events that a stream has brought so far, by their places in the log; grows while the stream is read. */
function readEvents(stream: ClientHttp2Stream): number[] {
  const indexes: number[] = [];
  let rest = Buffer.alloc(0);
  stream.on("data", (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const end = 5 + rest.readUInt32BE(1);
      const { event } = fromBinary(WatchResponseSchema, rest.subarray(5, end));
      if (event !== undefined) indexes.push(Number(openAnswer(EventSchema, event).message.logIndex));
      rest = rest.subarray(end);
    }
  });
  stream.resume();
  return indexes;
}

test("clients that open a Watch and read nothing cost the registry bounded memory, and those that read in the end miss nothing", async () => {
  await withFaultMesh(
    async (mesh) => {
      const running = new RunningFaultMesh(mesh);
      await running.start();
      await running.newApp();
      const { member, processId } = mesh.members.registry;
      let registered = 0;
      const registerApps = async (count: number) => {
        const end = registered + count;
        const worker = async () => {
          while (registered < end) await running.registerApp(`more-${++registered}`);
        };
        await Promise.all(Array.from({ length: AT_ONCE }, worker));
      };
      const sessions = Array.from({ length: CLIENTS / STREAMS_OF_A_CONNECTION }, () =>
        connect(`http://127.0.0.1:${member.port}`, { settings: { initialWindowSize: WINDOW_BYTES } }),
      );
      const hangUp = () => {
        for (const session of sessions) session.destroy();
      };
      onTestFinished(hangUp);
      for (const session of sessions) session.on("error", () => {});
      const watches = sessions.flatMap((session) =>
        Array.from({ length: STREAMS_OF_A_CONNECTION }, () => openWatch(session)),
      );
      await Promise.all(watches.map(({ answered }) => answered));
      await registerApps(EVENTS_ON_THE_WAY);

      const before = await settledMemoryOf(processId);
      await registerApps(EVENTS);
      const grown = (await settledMemoryOf(processId)) - before;
      const { log } = readRegistry(mesh.databaseFile("registry"));
      const events = log.flatMap(({ index, event }) => (event === undefined ? [] : [{ index, event }]));
      const sizes = events.map(({ event }) => toBinary(StatementSchema, event.statement).length);
      const kept = CLIENTS * sizes.slice(-EVENTS).reduce((sum, size) => sum + size, 0);
      console.log(
        `${CLIENTS} clients that read nothing, ${EVENTS} events: the registry has grown by ${mebibytes(grown)}; to keep all for` +
          ` all would take ${mebibytes(kept)} and more`,
      );
      expect(grown).toBeLessThan(kept / 2);

      const read = watches.slice(0, READERS).map((watch) => watch.read());
      const last = events.at(-1)?.index;
      await until("the last event at every client that reads", () => read.every((indexes) => indexes.at(-1) === last));
      const expected = events.map(({ index }) => index);
      for (const indexes of read) expect(indexes).toEqual(expected);
      hangUp();
      await running.expectAgreement();
    },
    { viewMaxAgeSeconds: 4 },
  );
});
