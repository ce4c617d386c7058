import type { DescMessage } from "@bufbuild/protobuf";
import { createClient, type Transport } from "@connectrpc/connect";
import { type DirectoryEntry, Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { RegistryAnswerSchema, RegistryKeyListSchema } from "../../gen/omi/registry/v1/registry_pb.ts";
import { ResolverService } from "../../gen/omi/registry/v1/resolver_service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { type Clock, unixSeconds } from "../core/clock.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { RemoteRefusal } from "../rpc/call/errors.ts";
import { refusalFrom } from "../rpc/client/refusal-from.ts";
import { type OpenedAnswer, openAnswer } from "../statement/statement.ts";
import { answerInvalid, checkAnswer } from "./answer-invalid.ts";
import type { Directory } from "./directory.ts";
import type { PinStore } from "./pin-store.ts";
import { RegistryTrust } from "./registry-trust.ts";
import type { TransportOf } from "./transports.ts";
import { type AnswerExpectation, verifyAnswer } from "./verified.ts";

/** What a {@link RegistryConnection} needs. */
export type RegistryConnectionOptions = {
  /** The registry's domain. */
  readonly domain: string;
  readonly directory: Directory;
  /** Makes transports whose calls fail with a Refusal, REGISTRY_UNAVAILABLE if the registry can't be reached. */
  readonly transportOf: TransportOf;
  readonly clock: Clock;
  readonly pinStore: PinStore;
};

/** The way to one registry: calls it, tells its refusals from trouble on the way, and verifies what it signs. */
export class RegistryConnection {
  readonly domain: string;
  readonly #options: RegistryConnectionOptions;
  readonly #trust: RegistryTrust;

  constructor(options: RegistryConnectionOptions) {
    this.domain = options.domain;
    this.#options = options;
    this.#trust = new RegistryTrust({
      domain: options.domain,
      clock: options.clock,
      pinStore: options.pinStore,
      readEntry: () => this.#entry(),
      fetchKeys: () => this.#fetchKeys(),
      listKeys: (afterVersion) => this.#listKeys(afterVersion),
    });
  }

  /** Unix seconds of this party's clock. */
  now(): number {
    return unixSeconds(this.#options.clock);
  }

  /**
   * Makes a call.
   *
   * @throws RemoteRefusal what the registry refused; Refusal REGISTRY_UNAVAILABLE if it can't be found or reached or takes
   *   too long, ANSWER_INVALID if what answers there is no registry
   */
  async call<T>(make: (transport: Transport) => Promise<T>): Promise<T> {
    const transport = await this.transport();
    try {
      return await make(transport);
    } catch (error) {
      throw this.failure(error);
    }
  }

  /** The transport of the registry's entry; throws as {@link call} does. */
  async transport(): Promise<Transport> {
    return this.#options.transportOf(await this.#entry());
  }

  /** What the failure of a call to the registry means; see {@link call}. */
  failure(error: unknown): Refusal {
    const refusal = refusalFrom(error, Reason.REGISTRY_UNAVAILABLE);
    if (refusal instanceof RemoteRefusal) return refusal;
    if (refusal.reason === Reason.ANSWER_INVALID) {
      const checked = refusal.metadata.domain === this.domain;
      return checked ? refusal : answerInvalid(this.domain, "", refusal.message, error);
    }
    return this.#unavailable(error);
  }

  /** Verifies an answer of the registry; see {@link verifyAnswer}. */
  verify<Desc extends DescMessage>(
    schema: Desc,
    statement: Statement | undefined,
    expected: Omit<AnswerExpectation, "domain" | "now" | "signerKey">,
  ): Promise<OpenedAnswer<Desc>> {
    return verifyAnswer(schema, statement, {
      ...expected,
      domain: this.domain,
      now: this.now(),
      signerKey: (keyId, at) => this.keyAt(keyId, at),
    });
  }

  /** The registry's key with this ID, if it counts at `at` (Unix seconds); see {@link RegistryTrust.keyAt}. */
  keyAt(keyId: string, at: number): Promise<Uint8Array | undefined> {
    return this.#trust.keyAt(keyId, at);
  }

  async #entry(): Promise<DirectoryEntry> {
    let entry: DirectoryEntry;
    try {
      entry = await this.#options.directory.lookup(this.domain);
    } catch (error) {
      if (error instanceof Refusal && error.reason === Reason.RATE_LIMITED) throw error;
      throw this.#unavailable(error);
    }
    if (entry.party !== Party.REGISTRY) throw answerInvalid(this.domain, "party", "it is not a registry");
    return entry;
  }

  async #fetchKeys(): Promise<Statement> {
    const { answer } = await this.call((transport) => createClient(ResolverService, transport).resolveRegistry({}));
    return checkAnswer(this.domain, () => {
      const keys = answer && openAnswer(RegistryAnswerSchema, answer, { field: "answer" }).message.registryKeys;
      if (keys === undefined) throw answerInvalid(this.domain, "answer.registry_keys", "no key set in it");
      return keys;
    });
  }

  async #listKeys(afterVersion: bigint): Promise<readonly Statement[]> {
    const { answer } = await this.call((transport) =>
      createClient(ResolverService, transport).listRegistryKeys({ afterVersion }),
    );
    return checkAnswer(
      this.domain,
      () => openAnswer(RegistryKeyListSchema, answer, { field: "answer" }).message.keySets,
    );
  }

  #unavailable(cause: unknown): Refusal {
    return new Refusal(Reason.REGISTRY_UNAVAILABLE, `the registry ${this.domain} can't be reached`, {
      metadata: { registry: this.domain },
      cause,
    });
  }
}
