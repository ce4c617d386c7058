import { type App, KeyStatus } from "../../../gen/omi/registry/v1/app_pb.ts";
import type { Service, ServiceStatus } from "../../../gen/omi/registry/v1/service_pb.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { type Clock, systemClock } from "../../../src/core/clock.ts";
import { systemRandom } from "../../../src/core/random.ts";
import { isRefusal, Reason } from "../../../src/core/refusal.ts";
import { createDeveloper, type Developer } from "../../../src/developer/developer.ts";
import { mayPass } from "../../../src/developer/retry.ts";
import { generateSigningKey } from "../../../src/developer/signing-key.ts";
import type { Connections } from "../../../src/directory/connections.ts";
import type { SigningKey } from "../../../src/statement/crypto.ts";
import { milliseconds } from "./wait.ts";

/** The pauses of the developer library, shortened, so that flows break off more often and are run again. */
const hastyClock: Clock = {
  now: systemClock.now,
  setTimer: (duration, callback) => systemClock.setTimer(duration / 20, callback),
};

const GIVE_UP_MS = 180_000;

/** A developer who uses the library, and does about failures what a person would. */
export class TestDeveloper {
  readonly masterKey: SigningKey;
  /** Sends the same bytes until they are answered. */
  readonly patient: Developer;
  /** Goes on as the developer's patience says. */
  readonly flows: Developer;
  readonly #reads: Connections["registries"];

  constructor(patience: "patient" | "impatient", connections: Record<"patient" | "impatient", Connections>) {
    this.masterKey = generateSigningKey(systemRandom);
    const { masterKey } = this;
    const common = { masterKey, random: systemRandom };
    this.patient = createDeveloper({ ...common, connections: connections.patient, clock: systemClock });
    const hasty = { ...common, connections: connections.impatient, clock: hastyClock };
    this.flows = patience === "patient" ? this.patient : createDeveloper(hasty);
    this.#reads = connections.patient.registries;
  }

  /**
   * Runs a flow, again from its beginning if it breaks off. If it is refused then, that may be because it has happened
   * already, so the developer looks.
   *
   * @returns how often it was run
   */
  async complete(flow: () => Promise<unknown>, hasHappened: () => Promise<boolean>): Promise<number> {
    const giveUpAt = Date.now() + GIVE_UP_MS;
    for (let attempts = 1; ; attempts++) {
      try {
        await flow();
        return attempts;
      } catch (error) {
        if (mayPass(error) ? Date.now() > giveUpAt : attempts === 1) throw error;
        if (!mayPass(error)) {
          if (await hasHappened()) return attempts;
          throw error;
        }
      }
      await milliseconds(100);
    }
  }

  /** The app as its registry knows it. */
  async app(appId: string): Promise<App> {
    return (await this.#reads.forApp(appId).resolveApp(appId, { fresh: true })).value;
  }

  /** A service as its registry knows it; undefined if it doesn't. */
  async service(appId: string, serviceId: string): Promise<Service | undefined> {
    try {
      return (await this.#reads.forApp(appId).resolveService(appId, serviceId, { fresh: true })).value;
    } catch (error) {
      if (isRefusal(error, Reason.SERVICE_UNKNOWN)) return undefined;
      throw error;
    }
  }

  /** The active key of a service, as hexadecimal digits; undefined if there is none. */
  async activeKey(appId: string, serviceId: string): Promise<string | undefined> {
    const keys = (await this.service(appId, serviceId))?.keys ?? [];
    const active = keys.find(({ status }) => status === KeyStatus.ACTIVE);
    return active && toHex(active.publicKey);
  }

  /** True if a service is in this state. */
  async isIn(status: ServiceStatus, appId: string, serviceId: string): Promise<boolean> {
    return (await this.service(appId, serviceId))?.status === status;
  }
}
