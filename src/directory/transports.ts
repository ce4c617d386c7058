import type { Transport } from "@connectrpc/connect";
import type { DirectoryEntry } from "../../gen/omi/directory/v1/directory_pb.ts";
import { type ClosableTransport, createTransport, type TransportOptions } from "../rpc/client/client.ts";

/** Gives the way to the server of a directory entry. */
export type TransportOf = (entry: Pick<DirectoryEntry, "baseUrl">) => Transport;

/** The ways to servers, one for each. */
export type Transports = {
  readonly transportOf: TransportOf;
  /** Ends what is under way and closes the connections. */
  close(): void;
};

// Servers with a transport at hand. One that falls out closes its connection by itself when it has been idle for a while.
const MAX_TRANSPORTS = 256;

/** Makes transports as they are asked for. */
export function createTransports(options: Omit<TransportOptions, "baseUrl">): Transports {
  const transports = new Map<string, ClosableTransport>();
  return {
    transportOf({ baseUrl }) {
      let transport = transports.get(baseUrl);
      if (transport === undefined) {
        transport = createTransport({ ...options, baseUrl });
        const [oldest] = transports.keys();
        if (oldest !== undefined && transports.size >= MAX_TRANSPORTS) transports.delete(oldest);
        transports.set(baseUrl, transport);
      }
      return transport;
    },
    close() {
      for (const transport of transports.values()) transport.close();
      transports.clear();
    },
  };
}
