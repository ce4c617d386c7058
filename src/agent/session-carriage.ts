import { SessionRevokedSchema } from "../../gen/omi/auth/v1/session_service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import type { CarrierConnection, EventCarrier } from "../events/carrier.ts";
import { openAnswer } from "../statement/statement.ts";
import type { EventSource } from "./session-revocations.ts";

/** Who takes what a carrier brings of one app. Nothing about it has been verified. */
export type SessionListener = {
  /** Resolves when the event is in place, turned out to be worthless, or is left to be found missing by the heads. */
  receive(event: Statement): Promise<void>;
  /** The carrier is connected, for the first time or again: anything may have been missed meanwhile. */
  connected(): void;
};

type Carried = { readonly connection: CarrierConnection; readonly listeners: Map<string, SessionListener> };

/** The carriers of session events, one for each Auth Provider that has apps here. */
export class SessionCarriage {
  readonly #carrierFor: (authProvider: string) => EventCarrier;
  readonly #byOrigin = new Map<string, Carried>();
  readonly #ending = new Set<Promise<void>>();

  constructor(carrierFor: (authProvider: string) => EventCarrier) {
    this.#carrierFor = carrierFor;
  }

  /** Listens to an app from now on. */
  add({ appId, origin }: EventSource, listener: SessionListener): void {
    const carried = this.#byOrigin.get(origin) ?? this.#open(origin);
    carried.listeners.set(appId, listener);
    carried.connection.add(appId, 0n);
  }

  /** Listens to it no longer. */
  remove({ appId, origin }: EventSource): void {
    const carried = this.#byOrigin.get(origin);
    if (carried === undefined || !carried.listeners.delete(appId)) return;
    carried.connection.remove(appId);
    if (carried.listeners.size > 0) return;
    this.#byOrigin.delete(origin);
    const ending = carried.connection.close().finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }

  /** Ends. Resolves once nothing more is handed over. */
  async close(): Promise<void> {
    const open = [...this.#byOrigin.values()];
    this.#byOrigin.clear();
    await Promise.all([...this.#ending, ...open.map(({ connection }) => connection.close())]);
  }

  #open(origin: string): Carried {
    const listeners = new Map<string, SessionListener>();
    const connection = this.#carrierFor(origin).open({
      async receive(message) {
        if ("event" in message) await listeners.get(appIdOf(message.event) ?? "")?.receive(message.event);
      },
      connected() {
        for (const listener of listeners.values()) listener.connected();
      },
    });
    const carried = { connection, listeners };
    this.#byOrigin.set(origin, carried);
    return carried;
  }
}

function appIdOf(statement: Statement): string | undefined {
  try {
    return openAnswer(SessionRevokedSchema, statement).message.appId;
  } catch {
    return undefined;
  }
}
