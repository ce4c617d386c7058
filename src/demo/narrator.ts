import { type Reason, Refusal, reasonName } from "../core/refusal.ts";
import type { Step } from "../developer/step.ts";

/** Writes one line. */
export type Print = (line: string) => void;

/** Tells a demonstration, and keeps count of what did not come out as it should. */
export class Narrator {
  readonly #print: Print;
  readonly #names = new Map<string, string>();
  #passed = 0;
  readonly #failed: string[] = [];

  constructor(print: Print) {
    this.#print = print;
  }

  /** A heading. */
  chapter(title: string): void {
    this.#print(`\n${title}\n${"─".repeat(title.length)}`);
  }

  /** A plain line. */
  say(text: string): void {
    this.#print(`  ${text}`);
  }

  /** Gives a key a name for people. */
  name(keyId: string, name: string): void {
    this.#names.set(keyId, name);
  }

  /** Who signed, sent or verified what. */
  readonly step = ({ action, type, signer, party, trust }: Step): void => {
    const message = type.slice(type.lastIndexOf(".") + 1);
    const key = this.#names.get(signer) ?? `key ${signer.slice(0, 12)}…`;
    if (action === "signed") this.#print(`    alice signs ${message} with ${key}`);
    else if (action === "verified") this.#print(`    alice verifies ${message}, signed with ${key}: ${trust}`);
    else this.#print(`    … and sends it to ${party}, which verifies it`);
  };

  /** Something that must be so. */
  expect(text: string, holds: boolean): void {
    this.#note(text, holds);
  }

  /** Something that must be refused, for this very reason. */
  async refused(text: string, reason: Reason, attempt: () => Promise<unknown>): Promise<void> {
    const outcome = await attempt().then(
      () => "accepted",
      (error: unknown) => (error instanceof Refusal ? reasonName(error.reason) : `failed: ${String(error)}`),
    );
    const wanted = reasonName(reason);
    this.#note(`refused  ${text}: ${outcome}`, outcome === wanted, ` (expected ${wanted})`);
  }

  /** Something went wrong that no line expected. */
  broke(error: unknown): void {
    const what = error instanceof Refusal ? `${reasonName(error.reason)}: ${error.message}` : String(error);
    this.#note(`the demonstration broke off: ${what}`, false);
  }

  /** The number of outcomes that were as expected, and those that were not. */
  result(): { passed: number; failed: readonly string[] } {
    return { passed: this.#passed, failed: this.#failed };
  }

  #note(text: string, holds: boolean, hint = ""): void {
    this.#print(`  ${holds ? "✓" : "✗"} ${text}${holds ? "" : hint}`);
    if (holds) this.#passed++;
    else this.#failed.push(`${text}${hint}`);
  }
}
