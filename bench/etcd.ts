import { spawn } from "node:child_process";
import { once } from "node:events";
import http2 from "node:http2";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { FRAME_PREFIX_BYTES, frameOf } from "../src/rpc/ready/frame.ts";
import type { Setting } from "./harness.ts";

/** The gRPC method that reads a key. */
export const rangePath = "/etcdserverpb.KV/Range";

const grpcHeaders = { "content-type": "application/grpc", te: "trailers" };

/**
 * Starts Debian's etcd, one node with its data in `directory`; it stops with the row.
 *
 * @returns its URL
 */
export async function startEtcd(directory: string, { cleanUp }: Pick<Setting, "cleanUp">): Promise<string> {
  const [client, peer] = [await freePort(), await freePort()].map((port) => `http://127.0.0.1:${port}`);
  if (client === undefined || peer === undefined) throw new Error("no free ports");
  const etcd = spawn(
    "etcd",
    [
      ...["--name", "bench", "--data-dir", join(directory, "etcd"), "--logger", "zap", "--log-level", "error"],
      ...["--listen-client-urls", client, "--advertise-client-urls", client],
      ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", `bench=${peer}`],
    ],
    { stdio: "ignore" },
  );
  const exited = once(etcd, "exit");
  cleanUp(async () => {
    etcd.kill();
    await exited;
  });
  for (let tries = 0; tries < 200; tries++) {
    const healthy = await fetch(`${client}/health`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (healthy) return client;
    await sleep(50);
  }
  throw new Error("etcd did not start");
}

/**
 * Stores a value under a key so that the answer to its range, in gRPC's frame, has a given length.
 *
 * @returns the framed request for that range: serializable, so that the node answers it alone
 */
export async function storeOfSize(url: string, answerLength: number): Promise<Uint8Array> {
  const key = Buffer.from("test.omi-registry.bench.shop/cms-article-0");
  const request = frameOf(
    new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(key).tag(7, WireType.Varint).bool(true).finish(),
  );
  let length = answerLength;
  for (let tries = 0; tries < 4; tries++) {
    const put = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(key);
    put.tag(2, WireType.LengthDelimited).bytes(Buffer.alloc(length, "x"));
    await call(url, "/etcdserverpb.KV/Put", frameOf(put.finish()));
    const answer = await call(url, rangePath, request);
    if (answer.length === answerLength) return request;
    length -= answer.length - answerLength;
  }
  throw new Error("etcd's answer does not get the length that it should have");
}

/** The answer to a unary gRPC call, in its frame. */
async function call(url: string, path: string, frame: Uint8Array): Promise<Buffer> {
  const session = http2.connect(url);
  try {
    const stream = session.request({ ":method": "POST", ":path": path, ...grpcHeaders });
    stream.end(frame);
    const answer = Buffer.concat(await stream.toArray());
    if (answer.length < FRAME_PREFIX_BYTES) throw new Error(`etcd refused ${path}`);
    return answer;
  } finally {
    session.close();
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}
