import net from "node:net";
import { cleanUp } from "./start.ts";

/** A bare TCP connection. */
export type Raw = {
  send(text: string): void;
  /** Everything received, once the server has closed the connection. */
  readonly closed: Promise<string>;
  /** Everything received, once it holds `text`. */
  received(text: string): Promise<string>;
};

/** Connects to a port of this machine. */
export function connectRaw(port: number): Raw {
  const socket = net.connect(port, "127.0.0.1");
  cleanUp(() => socket.destroy());
  let all = "";
  socket.on("data", (chunk: Buffer) => {
    all += chunk.toString("latin1");
  });
  socket.on("error", () => {});
  const closed = new Promise<string>((resolve) => socket.once("close", () => resolve(all)));
  return {
    send: (text) => void socket.write(text),
    closed,
    received: (text) =>
      new Promise((resolve, reject) => {
        const look = () => all.includes(text) && resolve(all);
        socket.on("data", look);
        closed.then(() => reject(new Error(`closed after: ${all}`)), reject);
        look();
      }),
  };
}

/** The Reason number in the JSON body of a Connect error. */
export function reasonIn(body: string): string | undefined {
  return JSON.parse(body).details?.[0]?.debug?.reason;
}
