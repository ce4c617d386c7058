/** What a contender is measured for, and how it is begun and ended. */
export interface Contender {
  readonly name: string;
  /**
   * Measures once.
   *
   * @param seconds - how long, where that can be chosen
   * @returns operations a second, or what the row's {@link Row.unit} says
   */
  measure(seconds: number): Promise<number>;
}

/** One line of the table: something of ours beside what limits it. */
export interface Row {
  /** For `--only`. */
  readonly name: string;
  /** What is measured, for people. */
  readonly what: string;
  /** What it is held against, for people. */
  readonly against: string;
  /** What `ratio` should come to: at least; with a `unit`, at most. */
  readonly reach: number;
  /** What is measured instead of operations a second, where less is better. */
  readonly unit?: "KB" | "MB" | "ms" | "s";
  /** True if each measurement begins with processes of its own: then there is nothing to warm up. */
  readonly startsAnew?: boolean;
  /** Programs that it needs. */
  readonly needs: readonly string[];
  /** Makes everything ready. What it begins, it hands to `cleanUp`. */
  prepare(setting: Setting): Promise<readonly Contender[]>;
  /**
   * The figure of one round, of the contenders' rates in that round; by default the first one's by the second one's, and
   * with a `unit` that of the first one as it is.
   */
  ratio?(rates: ReadonlyMap<string, number>): number;
}

/** How thoroughly to measure. */
export interface Setting {
  readonly quick: boolean;
  readonly rounds: number;
  /** True to begin with a round that does not count. */
  readonly warmUp: boolean;
  /** Of one measurement. */
  readonly seconds: number;
  /** Runs when the row is over, the last one first. */
  cleanUp(end: () => unknown): void;
}

/** What came of a row. */
export interface Outcome {
  readonly name: string;
  readonly what: string;
  readonly against: string;
  readonly reach: number;
  readonly unit?: Row["unit"];
  /** True if `ratio` is no ratio, but in `unit`. */
  readonly absolute: boolean;
  /** The contenders' rates in operations a second, or in `unit`, one for each round. */
  readonly rates: Readonly<Record<string, readonly number[]>>;
  readonly medians: Readonly<Record<string, number>>;
  /** One for each round. */
  readonly ratios: readonly number[];
  /** Their median. */
  readonly ratio: number;
}

/**
 * Measures the contenders of a row one after the other, round after round, so that what else the machine does meets all
 * of them. The first contender is ours.
 */
export async function measureRow(row: Row, options: Omit<Setting, "cleanUp">): Promise<Outcome> {
  const ends: (() => unknown)[] = [];
  try {
    const contenders = await row.prepare({ ...options, cleanUp: (end) => ends.push(end) });
    const rates = new Map(contenders.map(({ name }) => [name, [] as number[]]));
    for (let round = options.warmUp && row.startsAnew !== true ? 0 : 1; round <= options.rounds; round++) {
      // Every other round goes backwards, so that nobody always comes first.
      for (const { name, measure } of round % 2 === 0 ? contenders : contenders.toReversed()) {
        const rate = await measure(round === 0 ? 1 : options.seconds);
        if (round > 0) rates.get(name)?.push(rate);
      }
    }
    const ratioOf = row.ratio ?? (row.unit === undefined ? firstBySecond : first);
    const ratios = Array.from({ length: options.rounds }, (_, round) =>
      ratioOf(new Map([...rates].map(([name, all]) => [name, all[round] ?? Number.NaN]))),
    );
    const { name, what, against, reach, unit } = row;
    return {
      ...{ name, what, against, reach, ...(unit === undefined ? {} : { unit }) },
      absolute: unit !== undefined && row.ratio === undefined,
      rates: Object.fromEntries(rates),
      medians: Object.fromEntries([...rates].map(([contender, all]) => [contender, median(all)])),
      ratios,
      ratio: median(ratios),
    };
  } finally {
    for (const end of ends.toReversed()) await end();
  }
}

/** How the first contender stands to the second one. */
export function firstBySecond(rates: ReadonlyMap<string, number>): number {
  const [ours = Number.NaN, other = Number.NaN] = rates.values();
  return ours / other;
}

function first(rates: ReadonlyMap<string, number>): number {
  const [ours = Number.NaN] = rates.values();
  return ours;
}

/** The middle of some numbers; of an even count, the mean of the two in the middle. */
export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low = Number.NaN, high = low] = sorted.slice(Math.ceil(middle) - 1, Math.floor(middle) + 1);
  return (low + high) / 2;
}
