import type { Calls } from "./calls.ts";
import type { Chance } from "./chance.ts";
import type { FaultMember } from "./fault-member.ts";
import type { FaultMesh } from "./fault-mesh.ts";
import { milliseconds } from "./wait.ts";

// How long after a Statement was sent the kill comes, at most: what it sets off takes about as long. Most come early.
const AIMED_MS = 60;
const BLIND_MS = 1000;
const DOWN_MS = 300;
const START_MS = 1200;

/** Kills processes at random moments, and starts them again on the same files. */
export class Killer {
  readonly #mesh: FaultMesh;
  readonly #calls: Calls;
  readonly #chance: Chance;
  readonly #restarts = new Set<Promise<void>>();
  /** How long the last process took to start. */
  #startMs = 0;

  constructor(mesh: FaultMesh, calls: Calls, chance: Chance) {
    this.#mesh = mesh;
    this.#calls = calls;
    this.#chance = chance;
  }

  /** Kills each part a few times while it starts for the first time, on no files or on those that such a start left. */
  async killFirstStarts(): Promise<void> {
    for (const member of this.#members()) {
      for (let times = 0; times < 2; times++) {
        member.start();
        await milliseconds(this.#chance.below(START_MS));
        await member.kill();
      }
    }
  }

  /**
   * One round: waits for the moment, kills one process, now and then several, and sees to it that they come back; some are told
   * to stop instead. Most rounds end when they serve again; the others leave the next kill to come while they start.
   */
  async round(): Promise<void> {
    const chance = this.#chance;
    // The slower processes start on this machine, the longer they live, or nobody would ever get anything done.
    await milliseconds((chance.fraction() * this.#startMs) / 2);
    const victims = new Set([chance.happens(0.8) ? await this.#aim() : await this.#blindly()]);
    while (chance.happens(0.15)) victims.add(chance.pick(this.#members()));
    const back = Promise.all([...victims].map((victim) => this.#killAndRestart(victim, chance.below(DOWN_MS))));
    if (chance.happens(0.85)) await back;
    this.#mesh.check();
  }

  /** Waits until all processes are back. */
  async done(): Promise<void> {
    while (this.#restarts.size > 0) await Promise.all(this.#restarts);
    await Promise.all(this.#members().map((member) => member.serving));
    this.#mesh.check();
  }

  /** Waits until a Statement goes to a part that serves; picks that part, or the registry, which it may have to ask. */
  async #aim(): Promise<FaultMember> {
    const giveUpAt = Date.now() + BLIND_MS;
    while (Date.now() < giveUpAt) {
      const domain = await Promise.race([this.#calls.nextSent, milliseconds(BLIND_MS)]);
      const called = this.#members().find(({ member, isServing }) => member.domain === domain && isServing);
      if (called === undefined) continue;
      const victim = this.#chance.happens(0.3) ? this.#mesh.members.registry : called;
      await milliseconds(this.#chance.fraction() ** 2 * AIMED_MS);
      return victim;
    }
    return this.#blindly();
  }

  /** Picks any part at any time. */
  async #blindly(): Promise<FaultMember> {
    await milliseconds(this.#chance.below(BLIND_MS));
    return this.#chance.pick(this.#members());
  }

  #killAndRestart(victim: FaultMember, downMs: number): Promise<void> {
    // Down already, from a round before.
    if (!victim.isUp) return Promise.resolve();
    const isGentle = victim.isServing && this.#chance.happens(0.15);
    const back = (async () => {
      if (isGentle) await this.#mesh.stopOne(victim);
      else await victim.kill();
      await milliseconds(downMs);
      const begun = Date.now();
      victim.start();
      await victim.serving;
      this.#startMs = Date.now() - begun;
    })();
    this.#restarts.add(back);
    back.finally(() => this.#restarts.delete(back));
    return back;
  }

  #members(): FaultMember[] {
    return Object.values(this.#mesh.members);
  }
}
