#!/usr/bin/env node
// Plain JavaScript without static imports, so that a Node which is too old to load the rest can still say so.
const NEEDED = 24;

if (Number(process.versions.node.split(".")[0]) < NEEDED) {
  process.stderr.write(
    `error: omi needs Node ${NEEDED} or newer; this is Node ${process.versions.node}\n` +
      `next: Install one that is. In a clone of the project, "npm ci" brings one (on Linux); then run: npx omi --help\n`,
  );
  process.exitCode = 2;
} else {
  const { main } = await import("./main.ts");
  await main();
}
