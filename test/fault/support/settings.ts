import { randomInt } from "node:crypto";

/**
 * How many times the kill loop kills, unless `OMI_FAULT_ROUNDS` says otherwise: about four minutes on two cores, so that the
 * whole suite stays below six.
 */
const DEFAULT_ROUNDS = 120;

const rounds = wholeNumber("OMI_FAULT_ROUNDS") ?? DEFAULT_ROUNDS;

/** Settings of the suite, from the environment. */
export const settings = {
  rounds,
  /** What all decisions follow from. Another one each time, unless `OMI_FAULT_SEED` says otherwise. */
  seed: wholeNumber("OMI_FAULT_SEED") ?? randomInt(2 ** 32),
} as const;

/**
 * How often something is done that is done `count` times in a run of the usual size: more or less often if
 * `OMI_FAULT_ROUNDS` says so, but never less often than `least`.
 */
export function scaled(count: number, least = 4): number {
  return Math.max(least, Math.ceil((count * rounds) / DEFAULT_ROUNDS));
}

function wholeNumber(variable: string): number | undefined {
  const text = process.env[variable];
  if (text === undefined || text === "") return undefined;
  const number = Number(text);
  if (!Number.isInteger(number) || number < 0 || number >= 2 ** 32) {
    throw new Error(`${variable} must be a whole number below 2^32`);
  }
  return number;
}
