import { type DescMethod, getOption } from "@bufbuild/protobuf";
import { type ContextKey, type ContextValues, createContextKey, type Interceptor } from "@connectrpc/connect";
import { Access, rule } from "../../gen/omi/options/v1/options_pb.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import type { Authentication, Caller } from "./authentication.ts";

const callerKey: ContextKey<Caller | undefined> = createContextKey<Caller | undefined>(undefined, {
  description: "caller",
});

export type { Caller };

/**
 * Holds the RPCs of a service to the access that the contract states for them: `ACCESS_OPEN` passes, `ACCESS_USER_TOKEN`
 * and `ACCESS_SERVICE_TOKEN` pass with a token of that kind that verifies. All else is refused, so that an RPC whose contract
 * states no access, or one that this interceptor can't check, is never open by oversight.
 */
export function accessInterceptor(
  authentication: Pick<Authentication, "authenticate" | "authenticateService">,
): Interceptor {
  return (next) => async (request) => {
    switch (accessOf(request.method)) {
      case Access.OPEN:
        break;
      case Access.USER_TOKEN:
        request.contextValues.set(callerKey, await authentication.authenticate(request.header));
        break;
      case Access.SERVICE_TOKEN:
        request.contextValues.set(callerKey, await authentication.authenticateService(request.header));
        break;
      default:
        throw new Refusal(Reason.UNIMPLEMENTED, "the access that this RPC asks for is not offered here", {
          metadata: { method: `/${request.service.typeName}/${request.method.name}` },
        });
    }
    return next(request);
  };
}

const accessByMethod = new WeakMap<DescMethod, Access>();

// An option is decoded each time that it is read.
function accessOf(method: DescMethod): Access {
  let access = accessByMethod.get(method);
  if (access === undefined) {
    access = getOption(method, rule).access;
    accessByMethod.set(method, access);
  }
  return access;
}

/**
 * Who called an RPC of `ACCESS_USER_TOKEN` or `ACCESS_SERVICE_TOKEN`.
 *
 * @param values those of the handler's context
 * @throws Error if the RPC is not behind the agent's interceptor
 */
export function callerOf(values: ContextValues): Caller {
  const caller = values.get(callerKey);
  if (caller === undefined) throw new Error("no caller: the RPC is not behind the agent's interceptor");
  return caller;
}
