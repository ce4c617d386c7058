import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Setting } from "./harness.ts";

/** A process of ours that answers each line of JSON with a line of JSON. */
export interface Child<Ready> {
  /** What it said when it was ready. */
  readonly ready: Ready;
  /** Has it do something. */
  ask<Answer>(question: object): Promise<Answer>;
  stop(): Promise<void>;
}

/**
 * Starts `bench/children/<name>.ts` in a process of its own, so that it has a processor to itself; it stops with the row,
 * or before.
 */
export async function startChild<Ready>(
  name: string,
  options: object,
  { cleanUp }: Pick<Setting, "cleanUp">,
): Promise<Child<Ready>> {
  const file = new URL(`children/${name}.ts`, import.meta.url).pathname;
  const child = spawn(process.execPath, [file, JSON.stringify(options)], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const stop = async () => {
    child.stdin.end();
    await exited;
  };
  cleanUp(stop);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`bench/children/${name}.ts ended early`);
    return JSON.parse(value);
  };
  return {
    ready: await next(),
    ask(question) {
      child.stdin.write(`${JSON.stringify(question)}\n`);
      return next();
    },
    stop,
  };
}
