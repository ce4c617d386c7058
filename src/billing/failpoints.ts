import { subscriberFailpoints } from "../events/subscriber/failpoints.ts";
import { commitFailpoints } from "../tenancy/failpoints.ts";

/** Where Billing can be cut off. */
export const billingFailpoints: readonly string[] = [
  ...commitFailpoints("usage.report"),
  ...commitFailpoints("bill.read"),
  ...subscriberFailpoints,
];
