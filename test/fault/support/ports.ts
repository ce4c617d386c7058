import { randomInt } from "node:crypto";
import { createServer } from "node:net";

const FIRST = 15_000;
const END = 30_000;

/**
 * Ports that processes can come back to. They lie below the range from which systems take the ports of outgoing connections:
 * within it, a client that knocks while nobody listens may be given that very port as its own, be connected to itself, and
 * keep the process from coming back.
 */
export async function steadyPorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  for (let tries = 0; ports.size < count && tries < 1000; tries++) {
    // Not by the suite's seed: two runs with the same one must not want the same ports.
    const port = randomInt(FIRST, END);
    if (await isFree(port)) ports.add(port);
  }
  if (ports.size < count) throw new Error("no free ports");
  return [...ports];
}

function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
