import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, fstatSync, openSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { Health, HealthCheckResponse_ServingStatus } from "../../gen/health/v1/health_pb.ts";
import type { Mesh, MeshMember } from "./mesh.ts";
import { partFailure } from "./part-failure.ts";

const launcher = fileURLToPath(new URL("../omi.js", import.meta.url));

/** How long a process may take until it serves, in milliseconds. */
const startTimeoutMs = 60_000;

/** A part that runs in a process of its own. */
export interface RunningMember extends MeshMember {
  /** Where its log is, one JSON object a line. */
  readonly logFile: string;
  /** Where in it this process began to write, in bytes. */
  readonly logStart: number;
  readonly process: ChildProcess;
}

/** The processes of a mesh. */
export interface RunningMesh extends Mesh {
  readonly running: readonly RunningMember[];
  /** Resolves with the first process that ends by itself. */
  readonly firstExit: Promise<RunningMember>;
  /** Tells all processes to stop, and waits until they have. */
  stop(): Promise<void>;
}

/**
 * Starts every part of a mesh in a process of its own, and waits until all of them serve.
 *
 * @param signal ends the wait
 * @throws CommandFailure if one ends or does not serve in time, the signal's reason if it ends the wait; then all are stopped
 */
export async function startMesh(mesh: Mesh, signal?: AbortSignal): Promise<RunningMesh> {
  const running = mesh.members.map((member) => startMember(mesh.folder, member));
  const stop = async () => {
    await Promise.all(running.map(stopMember));
  };
  try {
    await Promise.all(running.map((member) => untilServing(member, signal)));
  } catch (error) {
    await stop();
    // A terminal tells the parts to stop as well, which then end before they serve.
    signal?.throwIfAborted();
    throw error;
  }
  const firstExit = Promise.race(
    running.map(
      (member) => new Promise<RunningMember>((resolve) => member.process.once("exit", () => resolve(member))),
    ),
  );
  return { ...mesh, running, firstExit, stop };
}

/** Starts one part in a process of its own; its output goes into a file in its folder. */
export function startMember(folder: string, member: MeshMember): RunningMember {
  const logFile = join(folder, member.name, "log.jsonl");
  const output = openSync(logFile, "a", 0o600);
  const logStart = fstatSync(output).size;
  const child = spawn(process.execPath, [launcher, "serve", member.configFile], {
    stdio: ["ignore", output, output],
  });
  closeSync(output);
  return { ...member, logFile, logStart, process: child };
}

/**
 * Waits until a part says that it serves.
 *
 * @param signal ends the wait
 * @throws CommandFailure if it ends before, or does not in time; the signal's reason if it ends the wait
 */
export async function untilServing(member: RunningMember, signal?: AbortSignal): Promise<void> {
  const transport = createConnectTransport({ baseUrl: `http://127.0.0.1:${member.port}`, httpVersion: "1.1" });
  const health = createClient(Health, transport);
  const deadline = Date.now() + startTimeoutMs;
  while (Date.now() < deadline) {
    signal?.throwIfAborted();
    if (hasEnded(member)) break;
    const answer = await health.check({}, { timeoutMs: 1000 }).catch(() => undefined);
    if (answer?.status === HealthCheckResponse_ServingStatus.SERVING) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw partFailure(member);
}

/** Tells a part to stop, and waits until it has; a part that doesn't within its grace is killed. */
export async function stopMember(member: RunningMember): Promise<void> {
  if (hasEnded(member)) return;
  const ended = new Promise((resolve) => member.process.once("exit", resolve));
  member.process.kill("SIGTERM");
  const timer = setTimeout(() => member.process.kill("SIGKILL"), 8000);
  await ended;
  clearTimeout(timer);
}

function hasEnded({ process: { exitCode, signalCode } }: RunningMember): boolean {
  return exitCode !== null || signalCode !== null;
}

/** Those of some ports that cannot be listened on, as somebody else does. */
export async function portsInUse(ports: readonly number[]): Promise<number[]> {
  const free = await Promise.all(
    ports.map(
      (port) =>
        new Promise<boolean>((resolve) => {
          const server = createServer();
          server.once("error", () => resolve(false));
          server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
        }),
    ),
  );
  return ports.filter((_, index) => free[index] === false);
}

/** Ports that nobody listens on right now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
