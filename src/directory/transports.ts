import type { Transport } from "@connectrpc/connect";
import type { DirectoryEntry } from "../../gen/omi/directory/v1/directory_pb.ts";
import { createTransport, type TransportOptions } from "../rpc/client.ts";
import { LruCache } from "../statement/lru-cache.ts";

/** Gives the way to the server of a directory entry. */
export type TransportOf = (entry: DirectoryEntry) => Transport;

// Servers with a transport at hand. One that falls out closes its connection by itself when it is idle.
const CACHE_SIZE = 256;

/** Makes transports, one for each server. */
export function createTransports(options: Omit<TransportOptions, "baseUrl">): TransportOf {
  const transports = new LruCache<string, Transport>(CACHE_SIZE);
  return ({ baseUrl }) => {
    let transport = transports.get(baseUrl);
    if (transport === undefined) {
      transport = createTransport({ ...options, baseUrl });
      transports.set(baseUrl, transport);
    }
    return transport;
  };
}
