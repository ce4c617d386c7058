import { create, type DescMethodUnary, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { ResolverService } from "../../gen/omi/registry/v1/resolver_service_pb.ts";
import { AnswerHeaderSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { toBase64Url } from "../core/bytes.ts";
import { messageOf } from "../rpc/ready/frame.ts";
import type { ReadyAnswer, ReadyAnswers } from "../rpc/ready/ready-answers.ts";
import { checkBounds } from "../statement/bounds.ts";
import { encodeCanonical } from "../statement/canonical.ts";
import { sha256 } from "../statement/crypto.ts";
import { AnswerCache } from "./answer-cache.ts";
import { answerHeader, type Facts } from "./answers.ts";
import type { ReadCore } from "./core.ts";
import type { Effect } from "./effects.ts";
import { listRegistryKeys } from "./rpc/list-registry-keys.ts";
import { listServices } from "./rpc/list-services.ts";
import { resolveApp } from "./rpc/resolve-app.ts";
import { resolveNamespace } from "./rpc/resolve-namespace.ts";
import { resolveRegistry } from "./rpc/resolve-registry.ts";
import { resolveService } from "./rpc/resolve-service.ts";
import { subjectsOf } from "./subjects.ts";
import { type UnsignedFrame, unsignedFrame } from "./unsigned-frame.ts";

/** A question of any read. */
type Question = Message & { nonce: Uint8Array };

/** What a read finds out at `now` (Unix seconds), or refuses. */
type Read = (core: ReadCore, request: never, now: number) => Facts;

const readsByMethod = new Map<DescMethodUnary, Read>([
  [ResolverService.method.resolveRegistry, resolveRegistry],
  [ResolverService.method.listRegistryKeys, listRegistryKeys],
  [ResolverService.method.resolveNamespace, resolveNamespace],
  [ResolverService.method.resolveApp, resolveApp],
  [ResolverService.method.resolveService, resolveService],
  [ResolverService.method.listServices, listServices],
]);

/** {@link Facts} as they are kept: encoded, all but the header. */
interface EncodedFacts extends Pick<Facts, "schema" | "appSequence" | "graceEnd" | "subjects"> {
  readonly body: Uint8Array;
  readonly hint: Uint8Array;
  /** The header of the last second in which somebody asked, without the query. */
  header: { readonly second: number; readonly encoded: Uint8Array; readonly expiresAt: number } | undefined;
}

/** What is kept under a question without its nonce, all of the same state: the first change drops it. */
interface Kept {
  /** The answer for those who bring no nonce. */
  signed?: Required<ReadyAnswer>;
  /** The next one, while it is being signed. */
  pending?: Promise<ReadyAnswer> | undefined;
  /** What is signed for each who brings a nonce. */
  facts?: EncodedFacts;
}

/** A kept answer is not given out in its last seconds, when a slow caller would get it expired. */
const marginSeconds = 5;

/** Bound on the memory that kept answers and facts take, in bytes, if nothing else is said. */
export const defaultAnswerCacheBytes = 128 * 1024 * 1024;

/** About what facts take beside their body: an encoded header, and objects. */
const factsBytes = 400;

/**
 * The registry's signed answers to reads. An answer that anybody may keep is signed once and given to all who ask, until
 * shortly before it expires or until a write changes what it says. For an answer to a nonce the facts are kept, and the
 * signature is made each time.
 */
export class Reads implements ReadyAnswers {
  readonly #core: ReadCore;
  readonly #catchUp: () => void;
  readonly #kept: AnswerCache<Kept>;
  /** Time of the log's last entry, in Unix seconds. */
  #logTime: number;

  /**
   * @param cacheBytes - bound on the memory that all kept answers and facts take
   * @param catchUp - calls {@link Reads.changed} for what another process has written since; throws what all answers are
   *   refused with
   */
  constructor(core: ReadCore, cacheBytes: number, catchUp: () => void = () => {}) {
    this.#core = core;
    this.#catchUp = catchUp;
    this.#kept = new AnswerCache(cacheBytes);
    this.#logTime = core.log.head().time;
  }

  now(): number {
    return Math.max(this.#core.clock.now(), this.#logTime * 1000);
  }

  kept(method: DescMethodUnary, request: string): ReadyAnswer | undefined {
    try {
      this.#catchUp();
    } catch {
      return; // whoever asks for an answer then is told
    }
    return this.#signedUnder(method, request);
  }

  async answer(method: DescMethodUnary, request: Uint8Array): Promise<ReadyAnswer> {
    this.#catchUp();
    const now = Math.floor(this.now() / 1000);
    // What is known under these bytes was checked when they came first, and a nonce of this length has no rules.
    const known = this.#factsUnder(method, keyWithoutNonce(method, request), now);
    if (known !== undefined) return { frame: await this.#sign(this.#frame(known, request, now), now) };

    const question = fromBinary(method.input, request) as Question;
    checkBounds(method.input, question, { allowPlainHttp: this.#core.allowPlainHttp });
    const query = toBinary(method.input, question, { writeUnknownFields: false });
    if (question.nonce.length === 0) {
      const key = keyOf(query);
      const kept = this.#signedUnder(method, key) ?? this.#kept.get(method, key)?.pending;
      return kept ?? this.#keep(method, key, question, query, now);
    }
    const key = keyWithoutNonce(method, query);
    const facts = this.#factsUnder(method, key, now) ?? this.#find(method, question, now);
    if (key !== undefined) {
      const kept = this.#kept.get(method, key) ?? {};
      kept.facts = facts;
      this.#put(method, key, kept, kept.signed?.frame, facts.subjects);
    }
    return { frame: await this.#sign(this.#frame(facts, query, now), now) };
  }

  /**
   * Forgets what an effect changes. To be called in the write's own transaction: it runs without a pause up to the commit,
   * so no read comes in between, and if the commit fails, nothing was lost but work. A reader's `catchUp` calls it for the commits
   * of its registry, before the next answer.
   *
   * @param now - the time of the log entry, in Unix seconds
   */
  changed(effect: Effect, now: number): void {
    this.#logTime = now;
    for (const subject of subjectsOf(effect)) this.#kept.drop(subject);
  }

  #signedUnder(method: DescMethodUnary, request: string): ReadyAnswer | undefined {
    const signed = this.#kept.get(method, request)?.signed;
    return signed !== undefined && this.now() < (signed.reuse.expiresAt - marginSeconds) * 1000 ? signed : undefined;
  }

  #keep(
    method: DescMethodUnary,
    key: string,
    question: Question,
    query: Uint8Array,
    now: number,
  ): Promise<ReadyAnswer> {
    const facts = this.#factsUnder(method, key, now) ?? this.#find(method, question, now);
    const unsigned = this.#frame(facts, query, now);
    const kept = this.#kept.get(method, key) ?? {};
    // Before it is signed, so that a change meanwhile drops it: whoever asks after that change finds nothing.
    this.#put(method, key, kept, unsigned.frame, facts.subjects);
    kept.pending = this.#signFor(kept, unsigned, this.#headerAt(facts, now).expiresAt, now);
    return kept.pending;
  }

  async #signFor(kept: Kept, unsigned: UnsignedFrame, expiresAt: number, now: number): Promise<ReadyAnswer> {
    try {
      const frame = await this.#sign(unsigned, now);
      const etag = `"${toBase64Url(sha256(messageOf(frame)).subarray(0, 16))}"`;
      kept.signed = { frame, reuse: { expiresAt, etag } };
      return kept.signed;
    } finally {
      kept.pending = undefined;
    }
  }

  #put(
    method: DescMethodUnary,
    key: string,
    kept: Kept,
    frame: Uint8Array | undefined,
    subjects: readonly string[],
  ): void {
    const { facts } = kept;
    const bytes = (frame?.length ?? 0) + (facts === undefined ? 0 : facts.body.length + factsBytes);
    this.#kept.set(method, key, kept, bytes, subjects);
  }

  #factsUnder(method: DescMethodUnary, key: string | undefined, now: number): EncodedFacts | undefined {
    const facts = key === undefined ? undefined : this.#kept.get(method, key)?.facts;
    return facts !== undefined && now < facts.graceEnd ? facts : undefined;
  }

  #find(method: DescMethodUnary, question: Question, now: number): EncodedFacts {
    const read = readsByMethod.get(method);
    if (read === undefined) throw new TypeError(`${method} is not a read of the registry`);
    const found = this.#core.store.reading(() => read(this.#core, question as never, now));
    const { message, configEpoch, ...facts } = found;
    const hint = "configEpoch" in method.output.field ? { configEpoch: BigInt(configEpoch) } : {};
    return {
      ...facts,
      body: encodeCanonical(facts.schema, create(facts.schema, message)),
      hint: toBinary(method.output, create(method.output, hint)),
      header: undefined,
    };
  }

  #frame(facts: EncodedFacts, query: Uint8Array, now: number): UnsignedFrame {
    const { schema, body, hint } = facts;
    return unsignedFrame({ schema, header: this.#headerAt(facts, now).encoded, body, hint }, query);
  }

  async #sign({ frame, input, signature }: UnsignedFrame, now: number): Promise<Uint8Array> {
    signature.set(await this.#core.keyring.signingKey(now).signAside(input));
    return frame;
  }

  #headerAt(facts: EncodedFacts, now: number): NonNullable<EncodedFacts["header"]> {
    if (facts.header?.second !== now) {
      const signer = this.#core.keyring.signingKey(now).keyId;
      const header = create(AnswerHeaderSchema, { ...answerHeader(this.#core, facts, now), signer });
      const encoded = encodeCanonical(AnswerHeaderSchema, header);
      facts.header = { second: now, encoded, expiresAt: Number(header.expiresAt) };
    }
    return facts.header;
  }
}

function keyOf(query: Uint8Array): string {
  return Buffer.from(query.buffer, query.byteOffset, query.length).toString("latin1");
}

const nonceLength = 16;

/**
 * The key of a request but for its nonce; undefined if it does not end with one. In the deterministic encoding it does, as
 * `nonce` is the last field of every question.
 */
function keyWithoutNonce(method: DescMethodUnary, query: Uint8Array): string | undefined {
  const end = query.length - nonceLength - 2;
  const tag = ((method.input.field.nonce?.number ?? 0) << 3) | WireType.LengthDelimited;
  return end >= 0 && query[end] === tag && query[end + 1] === nonceLength ? keyOf(query.subarray(0, end)) : undefined;
}
