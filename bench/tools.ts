import { execFile, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The programs that rows may need, with the arguments that ask for a version, and their Debian packages. */
const tools: Readonly<Record<string, { version: readonly string[]; debianPackage: string }>> = {
  h2load: { version: ["--version"], debianPackage: "nghttp2-client" },
  wrk: { version: ["-v"], debianPackage: "wrk" },
  openssl: { version: ["version"], debianPackage: "openssl" },
  "nats-server": { version: ["--version"], debianPackage: "nats-server" },
  etcd: { version: ["--version"], debianPackage: "etcd-server" },
  nginx: { version: ["-v"], debianPackage: "nginx" },
};

/** Debian keeps some where only root's PATH looks. */
export const toolsEnvironment = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };

/** The first line that a program says about its version; undefined if it is not installed. */
export function versionOf(name: string): string | undefined {
  const { error, stdout, stderr } = spawnSync(name, tools[name]?.version ?? [], {
    encoding: "utf8",
    env: toolsEnvironment,
  });
  return error === undefined ? `${stdout}${stderr}`.split("\n", 1)[0]?.trim() : undefined;
}

/** Those of the programs that are not installed, with the Debian packages that have them. */
export function missingTools(names: readonly string[]): string[] {
  return names
    .filter((name) => versionOf(name) === undefined)
    .map((name) => `${name} (Debian package ${tools[name]?.debianPackage})`);
}

/** A request that is sent again and again. */
export interface LoadTarget {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** A file with the body; a GET without. */
  readonly bodyFile?: string;
  /** On how many connections; 4 if absent. */
  readonly connections?: number | undefined;
}

/** The number of requests that are under way at any time. */
const inFlight = 128;

/** Of h2load. */
const defaultConnections = 4;

/** How long h2load sends before it begins to measure. */
export const warmUpSeconds = (seconds: number) => Math.min(0.5, seconds / 2);

/** Requests a second over HTTP/2. Throws if one was not answered with success. */
export async function h2load(target: LoadTarget, seconds: number): Promise<number> {
  const { connections = defaultConnections } = target;
  const stdout = await runH2load(target, ["-m", `${inFlight / connections}`, ...during(seconds)]);
  return rateIn(stdout);
}

/**
 * How long answers take, in milliseconds in ascending order, when requests are sent at a steady pace on 4 connections.
 *
 * @param logFile - where h2load may write
 */
export async function h2loadLatencies(
  target: LoadTarget,
  { seconds, perSecond, logFile }: { seconds: number; perSecond: number; logFile: string },
): Promise<Float64Array> {
  const pace = ["--rps", `${Math.max(1, Math.round(perSecond / defaultConnections))}`];
  await runH2load(target, [
    "-m",
    `${inFlight / defaultConnections}`,
    ...pace,
    ...during(seconds),
    "--log-file",
    logFile,
  ]);
  // Start of a request, status, time to the end of the answer: the times in microseconds.
  const lines = readFileSync(logFile, "utf8").trimEnd().split("\n");
  return Float64Array.from(lines, (line) => Number(line.split("\t")[2]) / 1000).sort();
}

/**
 * GET requests a second over HTTP/2, one after the other from a file with a path on each line. On one connection, as each
 * would begin at the file's first line.
 */
export async function h2loadPaths(base: string, file: string, seconds: number): Promise<number> {
  const options = ["-c", "1", "-m", `${inFlight}`, ...during(seconds), "--base-uri", base, "--input-file", file];
  return rateIn(await runTool(options));
}

const during = (seconds: number) => [
  "-D",
  `${seconds * 1000}ms`,
  "--warm-up-time",
  `${warmUpSeconds(seconds) * 1000}ms`,
];

function rateIn(stdout: string): number {
  return Number(/finished in [^,]+, ([\d.]+) req\/s/.exec(stdout)?.[1]);
}

function runH2load(
  { url, headers = {}, bodyFile, connections = defaultConnections }: LoadTarget,
  options: readonly string[],
): Promise<string> {
  return runTool([
    ...["-c", `${connections}`, ...options],
    ...Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]),
    ...(bodyFile === undefined ? [] : ["-d", bodyFile]),
    url,
  ]);
}

async function runTool(options: readonly string[]): Promise<string> {
  const { stdout } = await run("h2load", ["-t", "1", ...options]);
  const codes = /status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx/.exec(stdout)?.slice(1).map(Number) ?? [];
  const [good = 0, ...bad] = codes;
  if (good === 0 || bad.some((count) => count > 0)) throw new Error(`h2load was refused:\n${stdout}`);
  return stdout;
}

/**
 * Requests a second over HTTP/1.1, on 128 connections. Throws if one was not answered with success.
 *
 * @param scriptFile - where to write what wrk is told
 */
export async function wrk(
  { url, headers = {} }: LoadTarget,
  seconds: number,
  script?: { file: string },
): Promise<number> {
  const { stdout } = await run("wrk", [
    ...["-t", "1", "-c", `${inFlight}`, "-d", `${Math.ceil(seconds)}s`],
    ...Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]),
    ...(script === undefined ? [] : ["-s", script.file]),
    url,
  ]);
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`wrk was refused:\n${stdout}`);
  return Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]);
}

/** What wrk is told to post a body. */
export function wrkScript(body: Uint8Array): string {
  const bytes = [...body].map((byte) => `\\${`${byte}`.padStart(3, "0")}`).join("");
  return `wrk.method = "POST"\nwrk.body = "${bytes}"\n`;
}

/** Signatures and verifications a second by OpenSSL's own measure, in one process. */
export async function opensslSpeed(seconds: number): Promise<{ sign: number; verify: number }> {
  const { stdout } = await run("openssl", [
    "speed",
    "-elapsed",
    "-seconds",
    `${Math.max(1, Math.floor(seconds))}`,
    "ed25519",
  ]);
  const [sign, verify] = /Ed25519\)\s+\S+\s+\S+\s+([\d.]+)\s+([\d.]+)/.exec(stdout)?.slice(1).map(Number) ?? [];
  if (sign === undefined || verify === undefined) throw new Error(`openssl said something else:\n${stdout}`);
  return { sign, verify };
}
