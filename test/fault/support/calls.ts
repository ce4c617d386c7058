import type { DescMethodUnary, DescService, Message } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import type { Statement } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { isRefusal, Reason, type Refusal } from "../../../src/core/refusal.ts";
import { mayPass } from "../../../src/developer/retry.ts";
import { milliseconds } from "./wait.ts";

/** A Statement that a developer sent, and what came back in the end. */
export interface AnsweredCall {
  readonly method: DescMethodUnary;
  readonly statement: Statement;
  readonly response: Message;
  /** How often the same bytes were sent. */
  readonly attempts: number;
  /** When they were sent for the last time, in milliseconds since the Unix epoch. */
  readonly sentAt: number;
}

/**
 * How a developer deals with calls that fail. `patient`: the same bytes are sent until they are answered, for three minutes.
 * `stubborn`: the same, and also if the other party says that something is wrong with itself (INTERNAL). `impatient`: once.
 */
export type Patience = "patient" | "stubborn" | "impatient";

// Less than the time for which Statements are fresh.
const PATIENCE_MS = 180_000;
const PAUSE_MS = 250;

/** All calls of all developers, as they leave their machines. */
export class Calls {
  readonly answered: AnsweredCall[] = [];
  /** True once no more account is kept. */
  isOver = false;
  /** How many calls were cut, or found nobody. */
  cut = 0;
  #sent: PromiseWithResolvers<string> = Promise.withResolvers();
  #failed: PromiseWithResolvers<Refusal> = Promise.withResolvers();

  /** Resolves when the next Statement is sent, with the domain of the party that it goes to. */
  get nextSent(): Promise<string> {
    return this.#sent.promise;
  }

  /** Resolves when the next call fails that may be repeated. */
  get nextFailed(): Promise<Refusal> {
    return this.#failed.promise;
  }

  /**
   * A transport that keeps account of its calls.
   *
   * @param domain the party at its other end
   */
  through(transport: Transport, domain: string, patience: Patience): Transport {
    return {
      ...transport,
      unary: async (method, signal, timeoutMs, header, message, contextValues) => {
        const { statement } = message as { statement?: Statement };
        const giveUpAt = Date.now() + (patience === "impatient" ? 0 : PATIENCE_MS);
        for (let attempts = 1; ; attempts++) {
          const sentAt = Date.now();
          if (statement !== undefined) this.#announce(domain);
          try {
            const response = await transport.unary(method, signal, timeoutMs, header, message, contextValues);
            if (statement !== undefined && !this.isOver) {
              this.answered.push({ method, statement, response: response.message as Message, attempts, sentAt });
            }
            return response;
          } catch (error) {
            const isTrouble = patience === "stubborn" && isRefusal(error, Reason.INTERNAL);
            if (!isRefusal(error) || !(mayPass(error) || isTrouble)) throw error;
            this.cut++;
            this.#failed.resolve(error);
            this.#failed = Promise.withResolvers();
            if (sentAt >= giveUpAt) throw error;
          }
          await milliseconds(PAUSE_MS);
        }
      },
    };
  }

  /** The answered calls of a service. */
  to(service: DescService): AnsweredCall[] {
    return this.answered.filter(({ method }) => method.parent.typeName === service.typeName);
  }

  #announce(domain: string): void {
    this.#sent.resolve(domain);
    this.#sent = Promise.withResolvers();
  }
}
