import { readFileSync } from "node:fs";
import type { MeshMember } from "../../../src/operator/mesh.ts";
import { type RunningMember, startMember, stopMember, untilServing } from "../../../src/operator/processes.ts";

/** How often {@link untilServing} may give up on a process that is alive. */
const PATIENCE = 4;

/** One process of a part, from its start to its end. */
interface Life {
  readonly running: RunningMember;
  /** Resolves when it serves, or is told to end before. */
  serving: Promise<void>;
  isServing: boolean;
  /** True once somebody has told it to end. */
  told: boolean;
  ended: boolean;
}

/** A part of the mesh in a process that can be killed and started again on the same files. */
export class FaultMember {
  readonly member: MeshMember;
  readonly #folder: string;
  readonly #onUnexpected: (problem: string) => void;
  #life: Life | undefined;
  #retired = false;
  /** How often the process was killed, and told to stop. */
  kills = 0;
  stops = 0;

  /** @param onUnexpected is told when a process ends by itself, or doesn't come up */
  constructor(folder: string, member: MeshMember, onUnexpected: (problem: string) => void) {
    this.#folder = folder;
    this.member = member;
    this.#onUnexpected = onUnexpected;
  }

  /** Starts a process; {@link serving} tells when it serves. */
  start(): void {
    if (this.#retired) return;
    const running = startMember(this.#folder, this.member);
    const life: Life = { running, serving: Promise.resolve(), isServing: false, told: false, ended: false };
    life.serving = this.#untilServing(life);
    this.#life = life;
    running.process.once("exit", (code, signal) => {
      life.ended = true;
      if (!life.told) this.#onUnexpected(`${this.member.name} ended by itself: exit code ${code}, signal ${signal}`);
    });
  }

  /** Resolves when the process that was started last serves, or is told to end before. */
  get serving(): Promise<void> {
    return this.#life?.serving ?? Promise.resolve();
  }

  /** True while there is a process that has not been told to end, whether it serves yet or not. */
  get isUp(): boolean {
    return this.#life !== undefined && !this.#life.told && !this.#life.ended;
  }

  /** True while {@link isUp}, once the process serves. */
  get isServing(): boolean {
    return this.isUp && this.#life?.isServing === true;
  }

  /** The ID of the process that was started last. */
  get processId(): number | undefined {
    return this.#life?.running.process.pid;
  }

  /** Ends the process on the spot (SIGKILL) and waits until it is gone. */
  async kill(): Promise<void> {
    const life = this.#life;
    if (life === undefined || !this.isUp) return;
    life.told = true;
    this.kills++;
    const gone = new Promise((resolve) => life.running.process.once("exit", resolve));
    life.running.process.kill("SIGKILL");
    await gone;
  }

  /** Kills the process, and lets nobody start another one. */
  async retire(): Promise<void> {
    this.#retired = true;
    await this.kill();
  }

  /**
   * Tells the process to stop (SIGTERM) and waits until it has.
   *
   * @returns its exit code; null if it had to be killed
   */
  async stop(): Promise<number | null> {
    const life = this.#life;
    if (life === undefined || !this.isUp) return 0;
    life.told = true;
    this.stops++;
    await stopMember(life.running);
    return life.running.process.exitCode;
  }

  /** Waits longer than others do, if need be: a machine is slow on which processes die and start all the time. */
  async #untilServing(life: Life): Promise<void> {
    for (let patience = 1; ; patience++) {
      try {
        await untilServing(life.running);
        life.isServing = true;
        return;
      } catch (error) {
        if (life.told) return;
        if (life.ended || patience === PATIENCE) return this.#onUnexpected(String(error));
      }
    }
  }

  /** The process's log so far, of all its lives: one JSON object a line. */
  logLines(): string[] {
    try {
      return readFileSync(`${this.#folder}/${this.member.name}/log.jsonl`, "utf8").trimEnd().split("\n");
    } catch {
      return [];
    }
  }
}
