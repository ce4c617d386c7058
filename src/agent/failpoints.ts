import { commitFailpoints } from "../tenancy/failpoints.ts";

/**
 * Where an order can be cut off. Those from `provision.before-undo` to `provision.refuse` are passed only if the registry
 * refuses for good.
 */
export const provisionFailpoints: readonly string[] = [
  ...commitFailpoints("provision.begin"),
  "provision.before-hook",
  "provision.after-hook",
  "provision.before-call",
  "provision.after-call",
  "provision.before-undo",
  "provision.after-undo",
  ...commitFailpoints("provision.refuse"),
  ...commitFailpoints("provision.finish"),
  "context.before-hook",
  "context.after-hook",
  ...commitFailpoints("context.delivered"),
];

/** Where the news of a changed context can be cut off, beside the `context` ones of {@link provisionFailpoints}. */
export const contextFailpoints: readonly string[] = commitFailpoints("context.change");

/** Where a report of usage can be cut off. */
export const usageFailpoints: readonly string[] = [
  ...commitFailpoints("usage.add"),
  ...commitFailpoints("usage.seal"),
  ...commitFailpoints("usage.sent"),
  ...commitFailpoints("usage.drop"),
];

/** Where a session event can be cut off. */
export const sessionFailpoints: readonly string[] = [
  ...commitFailpoints("session.revoke"),
  ...commitFailpoints("session.advance"),
];
