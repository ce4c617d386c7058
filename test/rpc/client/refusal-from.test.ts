import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { ErrorDetailSchema, ReasonSchema } from "../../../gen/omi/error/v1/reason_pb.ts";
import { Reason, Refusal } from "../../../src/core/refusal.ts";
import { connectErrorOf, RemoteRefusal } from "../../../src/rpc/call/errors.ts";
import { detailOf, refusalFrom } from "../../../src/rpc/client/refusal-from.ts";

const UNAVAILABLE = Reason.REGISTRY_UNAVAILABLE;

function nodeError(code: string): Error {
  return Object.assign(new Error("node"), { code });
}

test("a refusal comes back as it went, marked as another party's", () => {
  const sent = new Refusal(Reason.EPOCH_MISMATCH, "changed", { metadata: { config_epoch: "3" }, nextStep: "Read." });
  const got = refusalFrom(connectErrorOf(sent), UNAVAILABLE);
  expect(got).toBeInstanceOf(RemoteRefusal);
  expect(got).toMatchObject({
    reason: sent.reason,
    message: sent.message,
    metadata: sent.metadata,
    nextStep: sent.nextStep,
  });
});

const reasons = ReasonSchema.values.map(({ localName, number }) => ({ localName, reason: number as Reason }));

test.each(reasons.filter(({ reason }) => reason !== Reason.UNSPECIFIED))(
  "$localName says what to do next, to callers and where the other party did not",
  ({ reason }) => {
    const sent = connectErrorOf(new Refusal(reason, "no"));
    expect(detailOf(sent)?.nextStep).not.toBe("");
    const silent = new ConnectError("no", Code.Internal);
    silent.details.push({ desc: ErrorDetailSchema, value: { reason } });
    expect(refusalFrom(silent, UNAVAILABLE)).toMatchObject({ reason, nextStep: detailOf(sent)?.nextStep });
  },
);

test("what another party sends is cut to its bounds", () => {
  const metadata = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`key${i}`, "x".repeat(5000)]));
  const got = refusalFrom(connectErrorOf(new Refusal(Reason.INTERNAL, "x".repeat(5000), { metadata })), UNAVAILABLE);
  expect(Object.keys(got.metadata)).toHaveLength(16);
  expect(got.message.length).toBeLessThan(5000);
  expect(got.metadata.key0?.length).toBeLessThan(5000);
});

test("a refusal for a peer that can't be reached names it, and what to do", () => {
  const got = refusalFrom(new ConnectError("", Code.Unavailable), Reason.PROVIDER_UNAVAILABLE, "auth.test");
  expect(got).not.toBeInstanceOf(RemoteRefusal);
  expect(got).toMatchObject({ reason: Reason.PROVIDER_UNAVAILABLE, metadata: { host: "auth.test" } });
  expect(got.nextStep).not.toBe("");
});

test.each([
  ["unavailable", new ConnectError("", Code.Unavailable), UNAVAILABLE],
  ["too late", new ConnectError("", Code.DeadlineExceeded), UNAVAILABLE],
  ["cut", new ConnectError("", Code.Aborted), UNAVAILABLE],
  ["a proxy's 500", new ConnectError("", Code.Unknown), UNAVAILABLE],
  [
    "a certificate that is not trusted",
    new ConnectError("", Code.Internal, undefined, undefined, nodeError("CERT_HAS_EXPIRED")),
    UNAVAILABLE,
  ],
  ["an error that is not connect's", nodeError("ECONNREFUSED"), UNAVAILABLE],
  ["no such RPC", new ConnectError("", Code.Unimplemented), Reason.UNIMPLEMENTED],
  ["an answer that is no message", new ConnectError("parse binary", Code.Internal), Reason.ANSWER_INVALID],
  ["an answer that is too large", new ConnectError("", Code.ResourceExhausted), Reason.ANSWER_INVALID],
  [
    "the dialler's refusal, however deep",
    new ConnectError("", Code.Unknown, undefined, undefined, new Refusal(Reason.ADDRESS_NOT_ALLOWED, "")),
    Reason.ADDRESS_NOT_ALLOWED,
  ],
])("an answer without detail: %s", (_, error, reason) => {
  expect(refusalFrom(error, UNAVAILABLE).reason).toBe(reason);
});
