import { type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { AnswerHeader, Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { equalBytes } from "../core/bytes.ts";
import { type OpenedAnswer, openAnswer, verifySignature } from "../statement/statement.ts";
import { answerInvalid, checkAnswer } from "./answer-invalid.ts";

/** What a party said, after its signature and everything else about the answer was checked. */
export type Verified<T> = {
  /** What it said. */
  readonly value: T;
  /** When it was said, until when it may be used, and in answer to what. */
  readonly header: AnswerHeader;
  /** The Statement as received: evidence to keep or pass on. */
  readonly statement: Statement;
};

/** How far another party's clock may be from ours before its answers are not believed, in seconds. */
const CLOCK_SKEW_SECONDS = 30;

/** What an answer must fit. Times are in Unix seconds of this party's clock. */
export type AnswerExpectation = {
  /** The domain of the party that was asked. */
  readonly domain: string;
  /** The path of the answer in the response. */
  readonly field: string;
  /** The Statement ID of the write that it must answer. Left out: it must answer no write. */
  readonly inReplyTo?: Uint8Array;
  /** The encoded request of the read that it must answer. Left out: it must answer no read. */
  readonly query?: Uint8Array;
  /** The answer was made for this call, which began then; so it must not be older. */
  readonly madeAfter?: number;
  /** When the answer came. */
  readonly now: number;
  /** Finds the key that may sign such an answer; undefined if the ID names none that counts at `at`. */
  readonly signerKey: (keyId: string, at: number) => Uint8Array | undefined | Promise<Uint8Array | undefined>;
};

/** The bytes that stand in the `query` of the answer to a read. */
export function queryOf<Desc extends DescMessage>(schema: Desc, request: MessageShape<Desc>): Uint8Array {
  return toBinary(schema, request);
}

/**
 * Checks everything about an answer but what it says: its type, that it answers this question and no other, its times, its
 * signer and the signature.
 *
 * A key must count now, for an answer that expires; for a record, which does not, when it was signed.
 *
 * @throws Refusal ANSWER_INVALID with the field and the domain; what finding the key throws
 */
export async function verifyAnswer<Desc extends DescMessage>(
  schema: Desc,
  statement: Statement | undefined,
  expected: AnswerExpectation,
): Promise<OpenedAnswer<Desc>> {
  const { domain, field } = expected;
  if (statement === undefined) throw answerInvalid(domain, field, "nothing signed in it");
  const opened = await checkAnswer(domain, () => openAnswer(schema, statement, { field }));
  checkHeader(opened.header, expected);
  const { signer, expiresAt, issuedAt } = opened.header;
  const publicKey = await expected.signerKey(signer, expiresAt === 0n ? Number(issuedAt) : expected.now);
  if (publicKey === undefined) throw answerInvalid(domain, `${field}.header.signer`, "signed by an unknown key");
  await checkAnswer(domain, () => verifySignature(opened, publicKey));
  return opened;
}

function checkHeader(header: AnswerHeader, expected: AnswerExpectation): void {
  const { domain, field, inReplyTo = NOTHING, query = NOTHING, madeAfter, now } = expected;
  if (!equalBytes(header.query, query)) {
    throw answerInvalid(domain, `${field}.header.query`, "it answers another question");
  }
  if (!equalBytes(header.inReplyTo, inReplyTo)) {
    throw answerInvalid(domain, `${field}.header.in_reply_to`, "it answers another request");
  }
  if (header.expiresAt !== 0n && Number(header.expiresAt) + CLOCK_SKEW_SECONDS <= now) {
    throw answerInvalid(domain, `${field}.header.expires_at`, "it has expired");
  }
  const issuedAt = Number(header.issuedAt);
  if (issuedAt > now + CLOCK_SKEW_SECONDS) {
    throw answerInvalid(domain, `${field}.header.issued_at`, "it is from the future: compare the clocks");
  }
  if (madeAfter !== undefined && issuedAt < madeAfter - CLOCK_SKEW_SECONDS) {
    throw answerInvalid(domain, `${field}.header.issued_at`, "it is older than the question: compare the clocks");
  }
}

const NOTHING = new Uint8Array();
