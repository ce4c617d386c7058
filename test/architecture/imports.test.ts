import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

/**
 * The rooms of `src/` and what they may import, each only of what stands above it. `registry`, `auth`, `agent` are
 * siblings: they talk to each other through generated clients alone, as their calls go over the network.
 *
 * Who may import a room may import also those within it that stand above it.
 */
const rooms: Record<string, readonly string[]> = {
  core: ["gen"],
  statement: ["core", "gen"],
  store: ["core"],
  log: ["core", "statement", "store", "gen"],
  "rpc/call": ["core", "gen"],
  "rpc/client": ["core", "rpc/call", "gen"],
  "rpc/ready": ["core", "rpc/call", "gen"],
  "rpc/http": ["core", "rpc/call", "rpc/ready"],
  "rpc/handlers": ["core", "statement", "rpc/call", "rpc/ready", "rpc/http", "gen"],
  "rpc/fast-path": ["core", "rpc/call", "rpc/ready", "rpc/http", "rpc/handlers"],
  "rpc/server": ["core", "rpc/call", "rpc/ready", "rpc/http", "rpc/handlers", "rpc/fast-path"],
  rpc: ["core", "rpc/call", "rpc/ready", "rpc/http", "rpc/handlers", "rpc/server"],
  token: ["core", "statement", "gen"],
  directory: ["core", "statement", "log", "rpc", "gen"],
  events: ["core", "statement", "store", "log", "rpc", "directory", "gen"],
  tenancy: ["core", "statement", "store", "rpc", "token", "directory", "gen"],
  registry: ["core", "statement", "store", "log", "rpc", "directory", "events", "gen"],
  auth: ["core", "statement", "store", "rpc", "token", "directory", "events", "tenancy", "gen"],
  agent: ["core", "statement", "store", "rpc", "token", "directory", "events", "tenancy", "gen"],
  billing: ["core", "statement", "store", "rpc", "token", "directory", "events", "tenancy", "gen"],
  developer: ["core", "statement", "rpc", "directory", "gen"],
  cli: ["core", "statement", "rpc", "token", "directory", "developer", "gen"],
  programs: ["core", "statement", "store", "rpc", "token", "directory", "events", "tenancy", "agent", "billing", "gen"],
};
const parts = Object.keys(rooms);
const all: Record<string, readonly string[]> = {
  ...rooms,
  operator: [...parts, "gen"],
  demo: [...parts, "operator", "gen"],
  // The commands of whoever runs a mesh; the demo is one of them.
  "operator/program.ts": [...parts, "operator", "demo", "gen"],
  "main.ts": [...parts, "operator", "operator/program.ts", "demo", "gen"],
  "omi.js": ["main.ts"],
};

/** Only `rpc` opens connections with these, so that all calls keep its limits and its rules about addresses. */
const transports = ["node:http", "node:http2", "node:https", "node:tls"];

interface Import {
  /** The file, from `src/` on. */
  file: string;
  /** What it imports: a path from the repository's root on, or a package. */
  target: string;
}

const imports: readonly Import[] = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll(sep, "/"))
  .filter((file) => /\.(ts|js)$/.test(file))
  .flatMap((file) =>
    specifiersIn(readFileSync(join(root, "src", file), "utf8")).map((specifier) => ({
      file,
      target: resolved(file, specifier),
    })),
  );

/** What the import and export statements, and the calls of `import`, of a file name. */
function specifiersIn(text: string): string[] {
  const forms = /^(?:import|export)\s[\w\s{},*$]*?from\s+"([^"]+)"|^import\s+"([^"]+)"|\bimport\(\s*"([^"]+)"/gm;
  return [...text.matchAll(forms)].map(([, from, effect, called]) => from ?? effect ?? called ?? "");
}

function resolved(file: string, specifier: string): string {
  if (specifier === "#statement-crypto") return "src/statement/crypto.ts";
  if (!specifier.startsWith(".")) return specifier;
  return posix.normalize(posix.join("src", dirname(file), specifier));
}

/** The room of a path: the one with the longest name that it begins with. */
function roomOf(path: string): string | undefined {
  if (path.startsWith("gen/")) return "gen";
  const within = relative("src", path).replaceAll(sep, "/");
  return Object.keys(all)
    .filter((room) => within === room || within.startsWith(`${room}/`))
    .sort((a, b) => b.length - a.length)[0];
}

/** Whether a room may be imported by who may import `allowed`. */
function isAmong(room: string, allowed: readonly string[]): boolean {
  const above = room.split("/").slice(0, -1).join("/");
  return allowed.includes(room) || (standsAbove(room, above) && allowed.includes(above));
}

function standsAbove(room: string, other: string): boolean {
  const names = ["gen", ...Object.keys(all)];
  return names.slice(0, names.indexOf(other)).includes(room);
}

/** The package of a specifier, e.g. `@connectrpc/connect` of `@connectrpc/connect/protocol`. */
function packageOf(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

test("the table has no circle: each room imports what stands above it", () => {
  for (const [room, allowed] of Object.entries(all)) {
    for (const target of allowed) expect(standsAbove(target, room), `${room} -> ${target}`).toBe(true);
  }
});

test("the imports were found", () => {
  expect(imports.length).toBeGreaterThan(500);
  expect(imports).toContainEqual({ file: "registry/core.ts", target: "src/core/clock.ts" });
  expect(imports).toContainEqual({ file: "log/entry-hash.ts", target: "src/statement/crypto.ts" });
});

test("every file is in a room of the table", () => {
  const files = new Set(imports.map(({ file }) => file));
  expect([...files].filter((file) => roomOf(`src/${file}`) === undefined)).toEqual([]);
});

describe.each(Object.entries(all))("%s", (room, allowed) => {
  const own = imports.filter(({ file }) => roomOf(`src/${file}`) === room);

  test("imports only what stands above it", () => {
    const inside = own.filter(({ target }) => /^(src|gen|test|\.\.)(\/|$)/.test(target));
    const wrong = inside.filter(({ target }) => {
      const to = roomOf(target);
      return to !== room && (to === undefined || !isAmong(to, allowed));
    });
    expect(wrong).toEqual([]);
  });

  test("opens no connections of its own, unless that is its work", () => {
    const opening = /^rpc(\/|$)/.test(room) ? [] : own.filter(({ target }) => transports.includes(target));
    expect(opening).toEqual([]);
  });
});

test("all packages that are imported come with an installation", () => {
  const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const packages = imports
    .map(({ target }) => target)
    .filter((target) => !/^(src|gen|node:|test|\.\.)/.test(target))
    .map(packageOf);
  expect([...new Set(packages)].filter((name) => !(name in dependencies))).toEqual([]);
});
