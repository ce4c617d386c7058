import { type DescMethod, type DescMethodUnary, getOption } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import { Health } from "../../../gen/health/v1/health_pb.ts";
import { rule } from "../../../gen/omi/options/v1/options_pb.ts";

/** True for an RPC that changes nothing. The contract of health comes from elsewhere, and doesn't say so of a check. */
export function isReadOnly({ idempotency, parent }: DescMethod): boolean {
  return idempotency === Idempotency.NO_SIDE_EFFECTS || parent === Health;
}

/** True if the contract marks the RPC as one whose answers anybody may keep. */
export function isCacheable(method: DescMethod): method is DescMethodUnary {
  if (method.methodKind !== "unary" || method.idempotency !== Idempotency.NO_SIDE_EFFECTS) return false;
  return getOption(method, rule).cacheable;
}
