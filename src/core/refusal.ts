import { Reason, ReasonSchema } from "../../gen/omi/error/v1/reason_pb.ts";
import { nextStepOf } from "./next-steps.ts";

export { Reason };

/** Facts about a refusal, keyed as documented at the Reason in `omi/error/v1/reason.proto`. Never secrets. */
export type RefusalMetadata = Readonly<Record<string, string>>;

/**
 * The one error that rules, parts and clients throw on purpose: a typed {@link Reason} with metadata. `rpc/` maps it to
 * a gRPC code with an ErrorDetail, and back again on the client's side. Anything else that is thrown is an internal
 * error, whose cause goes to the log and never to the caller.
 */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly reason: Reason;
  readonly metadata: RefusalMetadata;
  /** What the caller can do about it: what is known here, else what is always right for the Reason. */
  readonly nextStep: string;

  constructor(
    reason: Reason,
    message: string,
    options: { metadata?: RefusalMetadata; nextStep?: string; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.reason = reason;
    this.metadata = options.metadata ?? {};
    this.nextStep = options.nextStep || nextStepOf(reasonName(reason));
  }
}

/** The Reason's name without its prefix, e.g. `NONCE_REUSED`. */
export function reasonName(reason: Reason): string {
  return ReasonSchema.value[reason]?.localName ?? `REASON_${reason}`;
}

/** True if `error` is a {@link Refusal}, for `reason` if one is given. */
export function isRefusal(error: unknown, reason?: Reason): error is Refusal {
  return error instanceof Refusal && (reason === undefined || error.reason === reason);
}
