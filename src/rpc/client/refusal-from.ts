import { Code, ConnectError } from "@connectrpc/connect";
import { type ErrorDetail, ErrorDetailSchema, Reason } from "../../../gen/omi/error/v1/reason_pb.ts";
import { Refusal } from "../../core/refusal.ts";
import { RemoteRefusal } from "../call/errors.ts";

// What another party sends beyond these bounds is cut off: entries of `ErrorDetail.metadata`, characters of its texts.
const MAX_METADATA = 16;
const MAX_TEXT = 1024;

/** The ErrorDetail that an answer carried, if it carried one. */
export function detailOf(error: ConnectError): ErrorDetail | undefined {
  const found = error.findDetails(ErrorDetailSchema)[0];
  return found === undefined || found.reason === Reason.UNSPECIFIED ? undefined : found;
}

/**
 * What a failed call of ours means, the reverse of `connectErrorOf`:
 *
 * - an answer with an ErrorDetail is a {@link RemoteRefusal};
 * - a Refusal of our own side (the dialler's ADDRESS_NOT_ALLOWED) is that Refusal;
 * - no answer, or only a part of one (no connection, cut, too late, a proxy's 5xx) is a Refusal with the Reason `unavailable`;
 * - UNIMPLEMENTED without detail is a RemoteRefusal UNIMPLEMENTED;
 * - any other answer is not one of this contract: ANSWER_INVALID.
 *
 * @param error - not of a call that our own side has aborted
 * @param unavailable - the Reason for a peer that cannot be reached, e.g. REGISTRY_UNAVAILABLE
 * @param host - the peer's host, for the text and metadata of that refusal
 */
export function refusalFrom(error: unknown, unavailable: Reason, host?: string): Refusal {
  const ours = causes(error).find((cause) => cause instanceof Refusal);
  if (ours !== undefined) return ours;
  const options = { cause: error };
  const unreached = new Refusal(unavailable, `${host ?? "the peer"} can't be reached or did not answer in time`, {
    ...options,
    metadata: host === undefined ? {} : { host },
  });
  if (!(error instanceof ConnectError)) return unreached;

  const sent = detailOf(error);
  if (sent !== undefined) {
    const entries = Object.entries(sent.metadata).slice(0, MAX_METADATA);
    return new RemoteRefusal(sent.reason, cut(error.rawMessage), {
      ...options,
      metadata: Object.fromEntries(entries.map(([key, value]) => [cut(key), cut(value)])),
      nextStep: cut(sent.nextStep),
    });
  }
  if (error.code === Code.Unimplemented) {
    return new RemoteRefusal(Reason.UNIMPLEMENTED, "the peer does not have this RPC", options);
  }
  if (NO_ANSWER.has(error.code) || isCut(error) || (error.code === Code.Internal && causes(error).some(isNodeError))) {
    return unreached;
  }
  return new Refusal(Reason.ANSWER_INVALID, "the peer's answer does not follow the contract", options);
}

// Canceled among them: so Node's HTTP/2 ends the calls of a connection that the peer has closed.
const NO_ANSWER: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.Aborted,
  Code.Canceled,
  Code.Unknown,
]);

// A stream that stops without its end, after a message or within one: so it looks when the peer, or a proxy before it, is gone.
// connect calls it the peer's mistake. A test shows that these are still its texts.
function isCut({ rawMessage, isWireError }: ConnectError): boolean {
  return !isWireError && CUT_STREAM.has(rawMessage);
}

const CUT_STREAM: ReadonlySet<string> = new Set([
  "protocol error: missing EndStreamResponse",
  "protocol error: incomplete envelope",
]);

// connect knows only some of the errors of sockets, TLS and HTTP and calls the others internal. All have a string code,
// such as EHOSTUNREACH, CERT_HAS_EXPIRED or ERR_HTTP2_SESSION_ERROR.
function isNodeError(error: unknown): boolean {
  return error instanceof Error && "code" in error && typeof error.code === "string";
}

function causes(error: unknown): unknown[] {
  const chain: unknown[] = [];
  for (let e = error; e instanceof Error && !chain.includes(e); e = e.cause) chain.push(e);
  return chain;
}

function cut(text: string): string {
  return text.slice(0, MAX_TEXT);
}
