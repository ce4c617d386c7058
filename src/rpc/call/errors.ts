import { ConnectError } from "@connectrpc/connect";
import { ErrorDetailSchema, Reason } from "../../../gen/omi/error/v1/reason_pb.ts";
import { Refusal } from "../../core/refusal.ts";
import { codeOf } from "./codes.ts";

/**
 * A refusal that another party sent as the answer to a call of ours. A handler that lets it escape has not said what it
 * means for its own caller, so the server answers INTERNAL: translate it first, e.g. into REGISTRY_REFUSED.
 */
export class RemoteRefusal extends Refusal {}

/** The error that connect writes for `refusal`: its code, its message, and an ErrorDetail. */
export function connectErrorOf(refusal: Refusal): ConnectError {
  const error = new ConnectError(refusal.message, codeOf(refusal.reason));
  error.details.push(detail(refusal));
  return error;
}

/**
 * Makes an error of connect's own (malformed body, size limit, deadline) say what `refusal` does: its ErrorDetail and its
 * code. It changes the error in place, because connect is about to write that very object.
 */
export function turnInto(error: ConnectError, refusal: Refusal): void {
  error.details.push(detail(refusal));
  Object.assign(error, { code: codeOf(refusal.reason) });
}

function detail({ reason, metadata, nextStep }: Refusal) {
  return { desc: ErrorDetailSchema, value: { reason, metadata: { ...metadata }, nextStep } };
}

/** The refusal for a failure that is not the caller's fault. Its cause is logged, under the same request ID. */
export function internalRefusal(requestId: string): Refusal {
  return new Refusal(Reason.INTERNAL, "internal error", { metadata: { request_id: requestId } });
}
