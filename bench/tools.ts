import { execFile, spawnSync } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The programs that rows may need, with the arguments that ask for a version, and their Debian packages. */
const tools: Readonly<Record<string, { version: readonly string[]; debianPackage: string }>> = {
  h2load: { version: ["--version"], debianPackage: "nghttp2-client" },
  wrk: { version: ["-v"], debianPackage: "wrk" },
  openssl: { version: ["version"], debianPackage: "openssl" },
  "nats-server": { version: ["--version"], debianPackage: "nats-server" },
};

// Debian keeps some where only root's PATH looks.
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };

/** The first line that a program says about its version; undefined if it is not installed. */
export function versionOf(name: string): string | undefined {
  const { error, stdout, stderr } = spawnSync(name, tools[name]?.version ?? [], { encoding: "utf8", env });
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
}

/** The number of requests that are under way at any time. */
const inFlight = 128;

/** Requests a second over HTTP/2, on 4 connections. Throws if one was not answered with success. */
export async function h2load({ url, headers = {}, bodyFile }: LoadTarget, seconds: number): Promise<number> {
  const connections = 4;
  const { stdout } = await run("h2load", [
    ...["-t", "1", "-c", `${connections}`, "-m", `${inFlight / connections}`],
    ...["-D", `${seconds}`, "--warm-up-time", "500ms"],
    ...Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]),
    ...(bodyFile === undefined ? [] : ["-d", bodyFile]),
    url,
  ]);
  const codes = /status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx/.exec(stdout)?.slice(1).map(Number) ?? [];
  const [good = 0, ...bad] = codes;
  if (good === 0 || bad.some((count) => count > 0)) throw new Error(`h2load was refused:\n${stdout}`);
  return Number(/finished in [^,]+, ([\d.]+) req\/s/.exec(stdout)?.[1]);
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
  const { stdout } = await run("openssl", ["speed", "-seconds", `${Math.ceil(seconds)}`, "ed25519"]);
  const [sign, verify] = /Ed25519\)\s+\S+\s+\S+\s+([\d.]+)\s+([\d.]+)/.exec(stdout)?.slice(1).map(Number) ?? [];
  if (sign === undefined || verify === undefined) throw new Error(`openssl said something else:\n${stdout}`);
  return { sign, verify };
}
