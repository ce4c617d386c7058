import { readFileSync } from "node:fs";
import http2 from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { childOptions, serveLines } from "./lines.ts";

/** Sends requests that are each sent once: some lanes side by side, one request of a lane after the other. */
export interface WriteLoadOptions {
  /** JSON: the bodies of each lane, in base64. */
  readonly lanesFile: string;
  readonly path: string;
}

const { lanesFile, path } = childOptions<WriteLoadOptions>();
const lanes = (JSON.parse(readFileSync(lanesFile, "utf8")) as string[][]).map((bodies) =>
  bodies.map((body) => Buffer.from(body, "base64")),
);

/** So many connections that none becomes the bottleneck. */
const connections = 4;

/** What to send: all that is left, as fast as it goes; or, for so many seconds, so many a second. */
export interface WriteLoadQuestion {
  readonly url: string;
  readonly steady?: { readonly seconds: number; readonly perSecond: number };
}

const headers = { ":method": "POST", ":path": path, "content-type": "application/proto" };

function send(session: http2.ClientHttp2Session, body: Buffer): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    const stream = session.request(headers);
    let status: number | undefined;
    let text = "";
    stream.once("response", (answer) => {
      status = answer[":status"];
    });
    stream.on("data", (chunk) => {
      if (status !== 200) text += chunk;
    });
    stream.once("end", () => (status === 200 ? resolve() : reject(new Error(`refused: ${status} ${text}`))));
    stream.once("error", reject);
    stream.end(body);
  });
}

type Send = (lane: number, body: Buffer) => Promise<void>;

/** Sends everything, in all lanes at once. Every time the same: whoever asks brings a server that is new. */
async function sendAll(send: Send): Promise<number> {
  await Promise.all(
    lanes.map(async (bodies, lane) => {
      for (const body of bodies) await send(lane, body);
    }),
  );
  return lanes.reduce((count, { length }) => count + length, 0);
}

/** How far each lane has come. */
const sent = lanes.map(() => 0);

/** Sends so many a second, in one lane after the other, from where the last time ended. */
async function sendSteadily(
  send: Send,
  { seconds, perSecond }: Required<WriteLoadQuestion>["steady"],
): Promise<number> {
  const busy = new Map<number, Promise<void>>();
  const start = performance.now();
  let lane = 0;
  for (let count = 0; count < seconds * perSecond; count++) {
    const early = start + (count * 1000) / perSecond - performance.now();
    if (early > 0) await sleep(early);
    const next = sent[lane] ?? 0;
    const body = lanes[lane]?.[next];
    if (body === undefined) throw new Error("there are not enough requests");
    sent[lane] = next + 1;
    // Within a lane each builds on those before.
    await busy.get(lane);
    busy.set(lane, send(lane, body));
    lane = (lane + 1) % lanes.length;
  }
  await Promise.all(busy.values());
  return seconds * perSecond;
}

await serveLines<WriteLoadQuestion>({}, async ({ url, steady }) => {
  const sessions = Array.from({ length: connections }, () => http2.connect(url));
  const sendInLane: Send = (lane, body) => {
    const session = sessions[lane % connections];
    if (session === undefined) throw new Error("no connection");
    return send(session, body);
  };
  const start = performance.now();
  const count = await (steady === undefined ? sendAll(sendInLane) : sendSteadily(sendInLane, steady));
  const seconds = (performance.now() - start) / 1000;
  for (const session of sessions) session.close();
  return { rate: count / seconds };
});
