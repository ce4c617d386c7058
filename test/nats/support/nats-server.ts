import { type ChildProcess, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { newFolder, removeFolder } from "../../support/files.ts";

/** A nats-server of its own with JetStream, its data in a temporary folder. */
export interface TestNats {
  readonly port: number;
  /** `127.0.0.1:<port>`. */
  readonly address: string;
  /** Starts it again. */
  start(): Promise<void>;
  /** Kills it, as a crash would. */
  kill(): Promise<void>;
  /** Removes its data; it must not run. */
  wipe(): void;
}

/** How to start a server instead of by its options alone. */
export interface NatsOptions {
  /** Port for clients; a free one if absent. */
  port?: number;
  /** Writes the configuration file and returns its path. */
  configure?: (at: { folder: string; store: string; port: number }) => string;
}

/** Debian keeps `nats-server` where only the PATH of root looks. */
export const natsEnvironment = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };

/**
 * Starts a server that ends with the test.
 *
 * @throws if `nats-server` is not installed: these tests are never skipped
 */
export async function startNats({ port, configure }: NatsOptions = {}): Promise<TestNats> {
  const folder = newFolder();
  const store = join(folder, "store");
  const clientPort = port ?? (await freePort());
  const args =
    configure === undefined
      ? ["-js", "-sd", store, "-a", "127.0.0.1", "-p", String(clientPort)]
      : ["-c", configure({ folder, store, port: clientPort })];
  let server: ChildProcess | undefined;
  const kill = async () => {
    if (server === undefined) return;
    const exited = new Promise((resolve) => server?.once("exit", resolve));
    server.kill("SIGKILL");
    server = undefined;
    await exited;
  };
  const start = async () => {
    server = await spawnServer(args, clientPort);
  };
  onTestFinished(async () => {
    await kill();
    removeFolder(folder);
  });
  await start();
  return {
    port: clientPort,
    address: `127.0.0.1:${clientPort}`,
    start,
    kill,
    wipe: () => rmSync(store, { recursive: true, force: true }),
  };
}

async function spawnServer(args: readonly string[], port: number): Promise<ChildProcess> {
  const server = spawn("nats-server", args, { stdio: ["ignore", "ignore", "pipe"], env: natsEnvironment });
  let output = "";
  server.stderr?.on("data", (text: Buffer) => {
    output = (output + text.toString()).slice(-4000);
  });
  const failed = new Promise<never>((_, reject) => {
    server.once("error", () => reject(new Error("missing: nats-server (Debian package nats-server)")));
    server.once("exit", (code) => reject(new Error(`nats-server ended with ${code}:\n${output}`)));
  });
  failed.catch(() => {});
  const over = new AbortController();
  try {
    await Promise.race([untilListening(port, over.signal), failed]);
  } finally {
    over.abort();
  }
  return server;
}

async function untilListening(port: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && !(await greets(port))) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** True if a server at the port introduces itself. */
function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const done = (greeted: boolean) => {
      socket.destroy();
      resolve(greeted);
    };
    socket.once("data", () => done(true));
    socket.once("error", () => done(false));
    socket.once("close", () => done(false));
  });
}

/** A port that nobody listens on. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
