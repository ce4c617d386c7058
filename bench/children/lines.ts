import { createInterface } from "node:readline";

/** The options that the parent gave. */
export function childOptions<Options>(): Options {
  return JSON.parse(process.argv[2] ?? "{}");
}

/**
 * Says that the process is ready, and answers the parent's questions until it is told to stop by the end of its input.
 *
 * @param end - runs then
 */
export async function serveLines<Question>(
  ready: object,
  answer: (question: Question) => object | Promise<object>,
  end: () => unknown = () => {},
): Promise<void> {
  const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
  say(ready);
  for await (const line of createInterface({ input: process.stdin })) say(await answer(JSON.parse(line)));
  await end();
}

/** The clock that all processes of a machine share and that never goes back, in microseconds. */
export function monotonicMicros(): number {
  return Number(process.hrtime.bigint()) / 1000;
}
