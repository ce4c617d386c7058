import { connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A way to a server that can break, or fall silent without closing, as a broken network does. */
export interface StallingProxy {
  readonly address: string;
  /** Resolves when a client says something that holds this text: before it can hear an answer. */
  untilSaid(text: string): Promise<void>;
  /** Closes the connections that are open; new ones work. */
  cut(): void;
  /** Swallows from now on what is said over the connections that are open; new ones work. */
  stall(): void;
}

/** Starts a proxy to a port of this machine; it ends with the test. */
export async function startStallingProxy(port: number): Promise<StallingProxy> {
  const sockets = new Set<Socket>();
  const listeners = new Set<(said: Buffer) => void>();
  const server = createServer((socket) => {
    socket.on("data", (said) => {
      for (const listener of listeners) listener(said);
    });
    const other = connect(port, "127.0.0.1");
    for (const [from, to] of [
      [socket, other],
      [other, socket],
    ] as const) {
      sockets.add(from);
      from.on("error", () => to.destroy());
      from.on("close", () => sockets.delete(from));
      from.pipe(to);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  return {
    address: `127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`,
    untilSaid(text) {
      return new Promise((resolve) => {
        const listener = (said: Buffer) => {
          if (!said.includes(text)) return;
          listeners.delete(listener);
          resolve();
        };
        listeners.add(listener);
      });
    },
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    stall() {
      for (const socket of sockets) socket.unpipe().pause();
    },
  };
}
