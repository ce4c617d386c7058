import { create, type DescMessage, type DescMethodUnary, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { ResolverService } from "../../gen/omi/registry/v1/resolver_service_pb.ts";
import { AnswerHeaderSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { concatBytes, toBase64Url } from "../core/bytes.ts";
import { frameOf, type ReadyAnswer, type ReadyAnswers } from "../rpc/ready-answers.ts";
import { checkBounds } from "../statement/bounds.ts";
import { encodeCanonical } from "../statement/canonical.ts";
import { sha256 } from "../statement/crypto.ts";
import { signData } from "../statement/statement.ts";
import { AnswerCache } from "./answer-cache.ts";
import { answerHeader, type Facts } from "./answers.ts";
import type { RegistryCore } from "./core.ts";
import type { Effect } from "./effects.ts";
import { listServices } from "./rpc/list-services.ts";
import { resolveApp } from "./rpc/resolve-app.ts";
import { resolveNamespace } from "./rpc/resolve-namespace.ts";
import { resolveRegistry } from "./rpc/resolve-registry.ts";
import { resolveService } from "./rpc/resolve-service.ts";
import { subjectsOf } from "./subjects.ts";

/** A question of any read. */
type Question = Message & { nonce: Uint8Array };

/** What a read finds out at `now` (Unix seconds), or refuses. */
type Read = (core: RegistryCore, request: never, now: number) => Facts;

const readsByMethod = new Map<DescMethodUnary, Read>([
  [ResolverService.method.resolveRegistry, resolveRegistry],
  [ResolverService.method.resolveNamespace, resolveNamespace],
  [ResolverService.method.resolveApp, resolveApp],
  [ResolverService.method.resolveService, resolveService],
  [ResolverService.method.listServices, listServices],
]);

/** {@link Facts} with the answer's fields encoded, all but the header. */
type EncodedFacts = Pick<Facts, "appSequence" | "configEpoch" | "graceEnd" | "subjects"> & {
  schema: DescMessage;
  body: Uint8Array;
};

/** A kept answer is not given out in its last seconds, when a slow caller would get it expired. */
const marginSeconds = 5;

/**
 * The registry's signed answers to reads. An answer that anybody may keep is signed once and given to all who ask, until
 * shortly before it expires or until a write changes what it says. For an answer to a nonce the facts are kept, and the
 * signature is made each time.
 */
export class Reads implements ReadyAnswers {
  readonly #core: RegistryCore;
  readonly #signed: AnswerCache<Required<ReadyAnswer>>;
  readonly #facts: AnswerCache<EncodedFacts>;
  /** Time of the log's last entry, in Unix seconds. */
  #logTime: number;

  /** @param cacheBytes - bound on the memory that all kept answers and facts take */
  constructor(core: RegistryCore, cacheBytes: number) {
    this.#core = core;
    this.#signed = new AnswerCache(cacheBytes / 2);
    this.#facts = new AnswerCache(cacheBytes / 2);
    this.#logTime = core.log.head().time;
  }

  now(): number {
    return Math.max(this.#core.clock.now(), this.#logTime * 1000);
  }

  kept(method: DescMethodUnary, request: string): ReadyAnswer | undefined {
    const kept = this.#signed.get(method, request);
    return kept !== undefined && this.now() < (kept.reuse.expiresAt - marginSeconds) * 1000 ? kept : undefined;
  }

  answer(method: DescMethodUnary, request: Uint8Array): ReadyAnswer {
    const now = Math.floor(this.now() / 1000);
    const question = fromBinary(method.input, request) as Question;
    checkBounds(method.input, question, { allowPlainHttp: this.#core.allowPlainHttp });
    const query = encode(method.input, question);
    if (question.nonce.length > 0) {
      const facts = this.#factsOf(method, question, now);
      return { frame: frameOf(this.#sign(method, facts, query, now).message) };
    }
    const key = keyOf(query);
    return this.kept(method, key) ?? this.#keep(method, key, question, query, now);
  }

  /**
   * Forgets what an effect changes. To be called in the write's own transaction: it runs without a pause up to the commit,
   * so no read comes in between, and if the commit fails, nothing was lost but work.
   *
   * @param now - the time of the log entry, in Unix seconds
   */
  changed(effect: Effect, now: number): void {
    this.#logTime = now;
    for (const subject of subjectsOf(effect)) {
      this.#signed.drop(subject);
      this.#facts.drop(subject);
    }
  }

  #keep(method: DescMethodUnary, key: string, question: Question, query: Uint8Array, now: number): ReadyAnswer {
    const facts = this.#find(method, question, now);
    const { message, expiresAt } = this.#sign(method, facts, query, now);
    const etag = `"${toBase64Url(sha256(message).subarray(0, 16))}"`;
    const ready = { frame: frameOf(message), reuse: { expiresAt, etag } };
    this.#signed.set(method, key, ready, ready.frame.length, facts.subjects);
    return ready;
  }

  #factsOf(method: DescMethodUnary, question: Question, now: number): EncodedFacts {
    const key = keyOf(encode(method.input, { ...question, nonce: new Uint8Array() } as Question));
    const kept = this.#facts.get(method, key);
    if (kept !== undefined && now < kept.graceEnd) return kept;
    const facts = this.#find(method, question, now);
    this.#facts.set(method, key, facts, facts.body.length, facts.subjects);
    return facts;
  }

  #find(method: DescMethodUnary, question: Question, now: number): EncodedFacts {
    const read = readsByMethod.get(method);
    if (read === undefined) throw new TypeError(`${method} is not a read of the registry`);
    const { message, ...facts } = read(this.#core, question as never, now);
    return { ...facts, body: encodeCanonical(facts.schema, create(facts.schema, message)) };
  }

  /** The encoded response. The header is field 1 of every answer, so in the deterministic encoding it comes first. */
  #sign(method: DescMethodUnary, facts: EncodedFacts, query: Uint8Array, now: number) {
    const key = this.#core.keyring.signingKey(now);
    const header = create(AnswerHeaderSchema, { ...answerHeader(this.#core, facts, now), query, signer: key.keyId });
    const headerField = new BinaryWriter()
      .tag(1, WireType.LengthDelimited)
      .bytes(encodeCanonical(AnswerHeaderSchema, header))
      .finish();
    const answer = signData(facts.schema.typeName, concatBytes(headerField, facts.body), key);
    const hint = "configEpoch" in method.output.field ? { configEpoch: BigInt(facts.configEpoch) } : {};
    const message = toBinary(method.output, create(method.output, { answer, ...hint }));
    return { message, expiresAt: Number(header.expiresAt) };
  }
}

function encode(schema: DescMessage, message: Message): Uint8Array {
  return toBinary(schema, message, { writeUnknownFields: false });
}

function keyOf(query: Uint8Array): string {
  return Buffer.from(query.buffer, query.byteOffset, query.length).toString("latin1");
}
