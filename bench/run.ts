import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { measureRow, type Outcome } from "./harness.ts";
import { describeMachine } from "./machine.ts";
import { agentRows } from "./rows/agent.ts";
import { manyRows } from "./rows/many.ts";
import { mixedRows } from "./rows/mixed.ts";
import { provisioningRows } from "./rows/provisioning.ts";
import { readRows } from "./rows/reads.ts";
import { tokenRows } from "./rows/tokens.ts";
import { userRows } from "./rows/users.ts";
import { watchRows } from "./rows/watch.ts";
import { writeRows } from "./rows/writes.ts";
import { missingTools } from "./tools.ts";

const rows = [
  ...readRows,
  ...writeRows,
  ...mixedRows,
  ...manyRows,
  ...agentRows,
  ...provisioningRows,
  ...tokenRows,
  ...userRows,
  ...watchRows,
];

const usage = `npm run bench -- [--quick] [--only ROW]... [--list]

  --quick     one short round of each row: to see that everything runs, not for figures
  --only ROW  this row only; may be repeated
  --list      the names of the rows
`;

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: [] },
    list: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

/**
 * How long all rows may take on two processors, in minutes, with the database of many services to be made: whoever adds a row
 * or lengthens one finds the time for it elsewhere.
 */
const budgetMinutes = { full: 15, quick: 2 };

/** From this load on, other programs take part in what is measured. */
const busyLoad = 0.5;

if (values.help || values.list) {
  process.stdout.write(values.help ? usage : `${rows.map(({ name }) => name).join("\n")}\n`);
} else {
  await run();
}

async function run(): Promise<void> {
  const unknown = values.only.filter((name) => !rows.some((row) => row.name === name));
  if (unknown.length > 0) fail(`no such row: ${unknown.join(", ")}`);
  const chosen = rows.filter(({ name }) => values.only.length === 0 || values.only.includes(name));
  const tools = [...new Set(chosen.flatMap(({ needs }) => needs))];
  const missing = missingTools(tools);
  if (missing.length > 0) fail(`missing: ${missing.join(", ")}`);

  const about = describeMachine(tools);
  const [load = 0] = about.machine.loadBefore;
  if (load > busyLoad) say(`The machine is busy (load ${load.toFixed(2)}): don't trust these figures.`);
  const setting = values.quick ? { rounds: 1, seconds: 0.5, warmUp: false } : { rounds: 5, seconds: 1, warmUp: true };
  const start = performance.now();
  const outcomes: Outcome[] = [];
  const failed: string[] = [];
  for (const row of chosen) {
    const rowStart = performance.now();
    try {
      const outcome = await measureRow(row, { ...setting, quick: values.quick });
      outcomes.push(outcome);
      say(`${lineOf(outcome)}; took ${secondsSince(rowStart)} s`);
    } catch (error) {
      // The rows before it are worth a table all the same.
      failed.push(row.name);
      say(`${row.name}: failed: ${error instanceof Error ? error.stack : error}`);
    }
  }

  const directory = new URL("results/", import.meta.url);
  mkdirSync(directory, { recursive: true });
  const at = new Date().toISOString();
  const file = new URL(`${at.replaceAll(":", "-")}.json`, directory);
  writeFileSync(
    file,
    `${JSON.stringify({ at, quick: values.quick, ...about, rows: outcomes, failed }, undefined, 2)}\n`,
  );
  const minutes = secondsSince(start) / 60;
  say(`\n${tableOf(outcomes)}\n\nin ${minutes.toFixed(1)} minutes, written to ${file.pathname}`);
  const budget = values.quick ? budgetMinutes.quick : budgetMinutes.full;
  if (minutes > budget) say(`That is more than the ${budget} minutes that all rows may take.`);
  if (failed.length > 0) process.exitCode = 1;
}

function secondsSince(start: number): number {
  return Math.round((performance.now() - start) / 1000);
}

function lineOf(outcome: Outcome): string {
  return `${outcome.name}: ${mediansOf(outcome).join(", ")}: ${figureOf(outcome)} (to reach: ${reachOf(outcome)})`;
}

/** The table in Markdown, as the documentation shows it. */
function tableOf(outcomes: readonly Outcome[]): string {
  const cells = outcomes.map((outcome) => {
    const { name, what, against, ratios } = outcome;
    const range = `${rounded(Math.min(...ratios))}–${rounded(Math.max(...ratios))}`;
    const medians = mediansOf(outcome).join("; ");
    return [`\`${name}\``, what, against, medians, `${figureOf(outcome)} (${range})`, reachOf(outcome)];
  });
  const head = ["row", "what", "against", "medians (a second, if nothing else is said)", "ratio (from–to)", "to reach"];
  return [head, head.map(() => "---"), ...cells].map((line) => `| ${line.join(" | ")} |`).join("\n");
}

function mediansOf({ medians, unit }: Outcome): string[] {
  return Object.entries(medians).map(([contender, median]) => {
    const figure = unit === undefined ? Math.round(median).toLocaleString("en-US") : `${rounded(median)} ${unit}`;
    return `${contender} ${figure}`;
  });
}

function figureOf({ ratio, unit, absolute }: Outcome): string {
  return absolute ? `${rounded(ratio)} ${unit}` : rounded(ratio);
}

function reachOf({ reach, unit, absolute }: Outcome): string {
  return unit === undefined ? `${reach}` : `at most ${reach}${absolute ? ` ${unit}` : ""}`;
}

function rounded(figure: number): string {
  return figure < 100 ? figure.toFixed(2) : Math.round(figure).toLocaleString("en-US");
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function fail(message: string): never {
  process.stderr.write(`${message}\n${usage}`);
  process.exit(1);
}
