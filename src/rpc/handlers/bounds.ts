import type { Interceptor } from "@connectrpc/connect";
import { type BoundsOptions, checkBounds } from "../../statement/bounds.ts";

/**
 * Checks every request message against the bounds that the contract gives its fields, before a handler sees it.
 *
 * @throws Refusal as {@link checkBounds}, to the caller
 */
export function boundedRequests(options: Pick<BoundsOptions, "allowPlainHttp"> = {}): Interceptor {
  return (next) => async (request) => {
    const schema = request.method.input;
    if (!request.stream) {
      checkBounds(schema, request.message, options);
      return next(request);
    }
    const { message: messages } = request;
    async function* bounded() {
      for await (const message of messages) {
        checkBounds(schema, message, options);
        yield message;
      }
    }
    return next({ ...request, message: bounded() });
  };
}
