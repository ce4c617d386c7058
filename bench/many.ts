import { existsSync, mkdirSync, rmSync } from "node:fs";
import { create, toBinary } from "@bufbuild/protobuf";
import { ResolveServiceRequestSchema } from "../gen/omi/registry/v1/resolver_service_pb.ts";
import { formatAppId } from "../src/core/app-id.ts";
import { toBase64Url, toHex, utf8 } from "../src/core/bytes.ts";
import { registryMigrations } from "../src/registry/migrations.ts";
import { sha256 } from "../src/statement/crypto.ts";
import { startChild } from "./child.ts";
import type { FillChildOptions } from "./children/fill.ts";
import type { Setting } from "./harness.ts";
import { registryDomain } from "./world.ts";

/** How many services each app has. */
export const servicesPerApp = 10;

/** How many apps each namespace has. */
export const appsPerNamespace = 100;

/** The namespace of an app. */
export const namespaceAt = (app: number) => `bench${Math.floor(app / appsPerNamespace)}`;

const slugAt = (app: number) => `shop${app}`;

/** The ID of an app. */
export const appIdAt = (app: number) =>
  formatAppId({ registryDomain, namespace: namespaceAt(app), slug: slugAt(app), hash: "0a1b2c" });

/** A service, by its number. */
export function serviceAt(index: number): { appId: string; slug: string; serviceId: string } {
  const app = Math.floor(index / servicesPerApp);
  return { appId: appIdAt(app), slug: slugAt(app), serviceId: `cms-article-${index}` };
}

/** The path and query of a GET that resolves a service. */
export function getPathOf(index: number): string {
  const { appId, serviceId } = serviceAt(index);
  const message = toBinary(ResolveServiceRequestSchema, create(ResolveServiceRequestSchema, { appId, serviceId }));
  const query = `connect=v1&encoding=proto&base64=1&message=${toBase64Url(message)}`;
  return `/omi.registry.v1.ResolverService/ResolveService?${query}`;
}

/**
 * The file of a registry with so many services. It is made once and kept for later runs, in `bench/cache`, until the tables
 * change.
 */
export async function databaseWith(services: number, setting: Setting): Promise<string> {
  const directory = new URL("cache/", import.meta.url).pathname;
  mkdirSync(directory, { recursive: true });
  const version = toHex(sha256(utf8(registryMigrations.join()))).slice(0, 8);
  const databaseFile = `${directory}registry-${services}-${version}.sqlite`;
  if (existsSync(databaseFile)) return databaseFile;
  rmSync(`${databaseFile}.unfinished`, { force: true });
  const options: FillChildOptions = { databaseFile, services };
  const child = await startChild("fill", options, setting);
  await child.stop();
  return databaseFile;
}

/** How often each of some keys is asked for. */
export type Popularity = "Zipf" | "uniform";

/**
 * Draws keys from 0 to `count` - 1: all alike, or by Zipf's law with exponent 1, where the keys' ranks are scattered.
 */
export function createDraw(count: number, popularity: Popularity): () => number {
  if (popularity === "uniform") return () => Math.floor(Math.random() * count);
  const cumulative = new Float64Array(count);
  let sum = 0;
  for (let rank = 0; rank < count; rank++) {
    sum += 1 / (rank + 1);
    cumulative[rank] = sum;
  }
  // Neighbours in rank shall not be neighbours on disk. The factor is a prime that divides no count used here.
  const scattered = (rank: number) => (rank * 7_368_787) % count;
  return () => {
    const wanted = Math.random() * sum;
    let [low, high] = [0, count - 1];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((cumulative[middle] ?? 0) < wanted) low = middle + 1;
      else high = middle;
    }
    return scattered(low);
  };
}
