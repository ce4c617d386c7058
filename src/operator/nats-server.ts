import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";

/** How long a nats-server may take until it listens, in milliseconds. */
const startTimeoutMs = 10_000;

/** A nats-server that was started for a mesh. */
export interface NatsServer {
  /** `host:port` for clients. */
  readonly address: string;
  stop(): Promise<void>;
}

/**
 * Starts a nats-server with JetStream on loopback; it needs the program `nats-server` on the PATH.
 *
 * @param folder where it keeps its streams
 * @throws if the program is missing, or does not listen in time
 */
export async function startNatsServer(folder: string, port: number): Promise<NatsServer> {
  const store = join(folder, "nats");
  mkdirSync(store, { recursive: true, mode: 0o700 });
  // Debian keeps it where only root's PATH looks.
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
  const args = ["-js", "-sd", store, "-a", "127.0.0.1", "-p", String(port)];
  const server = spawn("nats-server", args, { stdio: "ignore", env });
  const ended = new Promise<"ended">((resolve) => server.once("exit", () => resolve("ended")));
  const failed = new Promise<Error>((resolve) => server.once("error", resolve));
  const outcome = await Promise.race([failed, ended, untilListening(port)]);
  if (outcome instanceof Error) {
    throw new Error("nats-server is missing; install it (Debian: apt-get install nats-server)", { cause: outcome });
  }
  if (outcome !== "listening") {
    server.kill("SIGKILL");
    throw new Error(`nats-server does not listen on port ${port}`);
  }
  return {
    address: `127.0.0.1:${port}`,
    async stop() {
      server.kill("SIGTERM");
      await ended;
    },
  };
}

async function untilListening(port: number): Promise<"listening" | "late"> {
  const deadline = Date.now() + startTimeoutMs;
  while (Date.now() < deadline) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => {
        socket.destroy();
        resolve(true);
      });
      socket.once("error", () => resolve(false));
    });
    if (open) return "listening";
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return "late";
}
