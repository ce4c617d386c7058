import { readFileSync } from "node:fs";
import http2 from "node:http2";
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

await serveLines<{ url: string }>({}, async ({ url }) => {
  const sessions = Array.from({ length: connections }, () => http2.connect(url));
  const start = process.hrtime.bigint();
  const headers = { ":method": "POST", ":path": path, "content-type": "application/proto" };
  const send = (session: http2.ClientHttp2Session, body: Buffer) =>
    new Promise<void>((resolve, reject) => {
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
  await Promise.all(
    lanes.map(async (bodies, lane) => {
      const session = sessions[lane % connections];
      if (session !== undefined) for (const body of bodies) await send(session, body);
    }),
  );
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  for (const session of sessions) session.close();
  return { rate: lanes.reduce((count, { length }) => count + length, 0) / seconds };
});
