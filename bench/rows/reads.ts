import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  ResolveServiceRequestSchema,
  ResolveServiceResponseSchema,
} from "../../gen/omi/registry/v1/resolver_service_pb.ts";
import { ServiceAnswerSchema } from "../../gen/omi/registry/v1/service_pb.ts";
import { toBase64Url } from "../../src/core/bytes.ts";
import { systemRandom } from "../../src/core/random.ts";
import { frameOf } from "../../src/rpc/ready/frame.ts";
import { openAnswer, verifySignature } from "../../src/statement/statement.ts";
import { startChild } from "../child.ts";
import type { BareChildOptions } from "../children/bare.ts";
import type { Loop } from "../children/loops.ts";
import type { ReaderChildOptions } from "../children/reader.ts";
import type { RegistryChildOptions } from "../children/registry.ts";
import { rangePath, startEtcd, storeOfSize } from "../etcd.ts";
import type { Contender, Row, Setting } from "../harness.ts";
import { startNginx } from "../nginx.ts";
import { tls } from "../tls.ts";
import { h2load, wrk, wrkScript } from "../tools.ts";
import { makeWorld, registryKey, type World } from "../world.ts";

/** The RPC that is asked. */
export const path = "/omi.registry.v1.ResolverService/ResolveService";
export const grpcHeaders = { "content-type": "application/grpc", te: "trailers" };
const connectHeaders = { "content-type": "application/proto", "connect-protocol-version": "1" };

/** The base URLs of the two servers, and what to ask them. */
export interface Ground {
  /** Goes with the row. */
  directory: string;
  registry: string;
  databaseFile: string;
  bare: { h2c: string; h2: string; h1: string };
  /** Of the answer in gRPC's frame, in bytes. */
  answerLength: number;
  grpcBody: string;
  connectBody: string;
  /** The path and query of a GET. */
  getPath: string;
  /** Posts the body. */
  wrkScript: string;
}

/** Starts the two servers; the registry with the services of `world`. */
export async function ground(
  setting: Setting,
  options: { fresh?: boolean; secure?: boolean; world?: World } = {},
): Promise<Ground> {
  const directory = mkdtempSync(join(tmpdir(), "omi-bench-"));
  setting.cleanUp(() => rmSync(directory, { recursive: true }));
  const file = (name: string, content: string | Uint8Array) => {
    writeFileSync(join(directory, name), content);
    return join(directory, name);
  };
  const { world = makeWorld(16) } = options;
  const databaseFile = join(directory, "registry.sqlite");
  const { ready: registry } = await startChild<{ url: string }>(
    "registry",
    {
      worldFile: file("world.json", JSON.stringify(world.file)),
      databaseFile,
      ...(options.secure ? { tls } : {}),
    } satisfies RegistryChildOptions,
    setting,
  );
  const request = create(ResolveServiceRequestSchema, {
    appId: world.appId,
    serviceId: world.services[0]?.serviceId ?? "",
    ...(options.fresh ? { nonce: systemRandom(16) } : {}),
  });
  const message = toBinary(ResolveServiceRequestSchema, request);
  const getPath = `${path}?connect=v1&encoding=proto&base64=1&message=${toBase64Url(message)}`;
  const frame = frameOf(await answerTo(registry.url + getPath));
  const bareOptions: BareChildOptions = { frame: Buffer.from(frame).toString("base64"), tls };
  const { ready: bare } = await startChild<Ground["bare"]>("bare", bareOptions, setting);
  return {
    directory,
    registry: registry.url,
    databaseFile,
    answerLength: frame.length,
    bare,
    getPath,
    grpcBody: file("grpc.bin", frameOf(message)),
    connectBody: file("connect.bin", message),
    wrkScript: file("post.lua", wrkScript(message)),
  };
}

/** Starts a reader of the registry for each processor, all on one port. */
async function startReaders({ databaseFile }: Ground, setting: Setting): Promise<string> {
  const start = (port: number) => {
    const options: ReaderChildOptions = { databaseFile, port };
    return startChild<{ url: string; port: number }>("reader", options, setting);
  };
  const { url, port } = (await start(0)).ready;
  for (let started = 1; started < availableParallelism(); started++) await start(port);
  return url;
}

async function answerTo(url: string): Promise<Buffer> {
  const get = url.startsWith("https:") ? https.get(url, { rejectUnauthorized: false }) : http.get(url);
  const [response] = (await once(get, "response")) as [http.IncomingMessage];
  return Buffer.concat(await response.toArray());
}

type Measure = (base: string, ground: Ground, seconds: number) => Promise<number>;

const overGrpc = (base: string, { grpcBody }: Ground, seconds: number, connections?: number) =>
  h2load({ url: base + path, headers: grpcHeaders, bodyFile: grpcBody, connections }, seconds);

const measures: Readonly<Record<string, { http: "h2c" | "h1"; measure: Measure; what: string }>> = {
  "post-h2": {
    http: "h2c",
    what: "Connect POST, h2",
    measure: (base, { connectBody }, seconds) =>
      h2load({ url: base + path, headers: connectHeaders, bodyFile: connectBody }, seconds),
  },
  "get-h2": {
    http: "h2c",
    what: "Connect GET, h2",
    measure: (base, { getPath }, seconds) => h2load({ url: base + getPath }, seconds),
  },
  "post-h1": {
    http: "h1",
    what: "Connect POST, HTTP/1.1",
    measure: (base, on, seconds) => wrk({ url: base + path, headers: connectHeaders }, seconds, { file: on.wrkScript }),
  },
  "get-h1": {
    http: "h1",
    what: "Connect GET, HTTP/1.1",
    measure: (base, { getPath }, seconds) => wrk({ url: base + getPath }, seconds),
  },
};

function besideBare(on: Ground, bare: string, measure: Measure): Contender[] {
  return [
    { name: "registry", measure: (seconds) => measure(on.registry, on, seconds) },
    { name: "bare", measure: (seconds) => measure(bare, on, seconds) },
  ];
}

async function etcdRange(
  { directory, answerLength }: Ground,
  setting: Setting,
  connections?: number,
): Promise<Contender> {
  const etcd = await startEtcd(directory, setting);
  const bodyFile = join(directory, "range.bin");
  writeFileSync(bodyFile, await storeOfSize(etcd, answerLength));
  return {
    name: "etcd",
    measure: (seconds) => h2load({ url: etcd + rangePath, headers: grpcHeaders, bodyFile, connections }, seconds),
  };
}

/**
 * Asks a cache over HTTP/2, as a client does. Throws unless the answer counts.
 *
 * @returns whether the cache had it: HIT
 */
async function askCache(url: string): Promise<string> {
  const session = http2.connect(url);
  try {
    const stream = session.request({ ":path": url.slice(new URL(url).origin.length) });
    const [headers] = await once(stream, "response");
    const { answer } = fromBinary(ResolveServiceResponseSchema, Buffer.concat(await stream.toArray()));
    if (answer === undefined) throw new Error(`no answer: ${headers[":status"]}`);
    const opened = openAnswer(ServiceAnswerSchema, answer);
    await verifySignature(opened, registryKey.publicKey);
    if (Number(opened.header.expiresAt) * 1000 < Date.now()) throw new Error("the answer has expired");
    return headers["x-cache"];
  } finally {
    session.close();
  }
}

const sameBytes = "bare Node server, same bytes";

/** Reads: what it costs to resolve a service. */
export const readRows: readonly Row[] = [
  {
    name: "resolve-grpc",
    what: "resolve service, cached, gRPC, 128 in flight",
    against: sameBytes,
    reach: 0.9,
    needs: ["h2load"],
    async prepare(setting) {
      const on = await ground(setting);
      return besideBare(on, on.bare.h2c, overGrpc);
    },
  },
  {
    name: "resolve-grpc-tls",
    what: "resolve service, cached, gRPC over TLS",
    against: `${sameBytes}, TLS`,
    reach: 0.9,
    needs: ["h2load"],
    async prepare(setting) {
      const on = await ground(setting, { secure: true });
      return besideBare(on, on.bare.h2, overGrpc);
    },
  },
  ...Object.entries(measures).map(
    ([name, { http, what, measure }]): Row => ({
      name: `resolve-${name}`,
      what: `resolve service, cached, ${what}`,
      against: sameBytes,
      reach: 0.85,
      needs: [http === "h1" ? "wrk" : "h2load"],
      async prepare(setting) {
        const on = await ground(setting);
        return besideBare(on, on.bare[http], measure);
      },
    }),
  ),
  {
    name: "resolve-etcd",
    what: "resolve service, cached, gRPC, 128 in flight",
    against: "etcd, range of one key, serializable, an answer of the same size",
    reach: 3,
    needs: ["h2load", "etcd"],
    async prepare(setting) {
      const on = await ground(setting);
      return [
        { name: "registry", measure: (seconds) => overGrpc(on.registry, on, seconds) },
        await etcdRange(on, setting),
      ];
    },
  },
  {
    name: "resolve-etcd-readers",
    what: "resolve service, cached, gRPC, 128 in flight on 16 connections, a reader for each processor",
    against: "etcd, range of one key, serializable, an answer of the same size",
    reach: 3,
    needs: ["h2load", "etcd"],
    async prepare(setting) {
      const on = await ground(setting);
      const readers = await startReaders(on, setting);
      // The system gives each connection to one of the readers, by chance.
      const connections = 16;
      return [
        { name: "readers", measure: (seconds) => overGrpc(readers, on, seconds, connections) },
        await etcdRange(on, setting, connections),
      ];
    },
  },
  {
    name: "resolve-etcd-cached",
    what: "resolve service from nginx's cache in front of the registry, Connect GET, h2, 128 in flight",
    against: "etcd, range of one key, serializable, an answer of the same size",
    reach: 3,
    needs: ["h2load", "etcd", "nginx"],
    async prepare(setting) {
      const on = await ground(setting);
      const url = (await startNginx(on.registry, on.directory, setting)) + on.getPath;
      await askCache(url);
      if ((await askCache(url)) !== "HIT") throw new Error("nginx keeps no answers");
      return [
        {
          name: "nginx",
          async measure(seconds) {
            const rate = await h2load({ url }, seconds);
            await askCache(url);
            return rate;
          },
        },
        await etcdRange(on, setting),
      ];
    },
  },
  {
    name: "resolve-fresh",
    what: "resolve service, fresh (signed for each request), gRPC",
    against: "what one Ed25519 signature and the bare server allow",
    reach: 0.7,
    needs: ["h2load"],
    async prepare(setting) {
      const on = await ground(setting, { fresh: true });
      const loops = await startChild("loops", {}, setting);
      const loop: Loop = "ed25519-sign";
      return [
        ...besideBare(on, on.bare.h2c, overGrpc),
        { name: "sign", measure: async (seconds) => (await loops.ask<{ rate: number }>({ loop, seconds })).rate },
      ];
    },
    ratio(rates) {
      const [ours = Number.NaN, bare = Number.NaN, sign = Number.NaN] = rates.values();
      return ours * (1 / bare + 1 / sign);
    },
  },
];
