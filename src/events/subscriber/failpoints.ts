/** The WriteQueue job in which an event's effect and the cursor are put on disk together. */
export const APPLY_JOB = "event.apply";

/** The WriteQueue job in which the head of a registry's log is remembered. */
export const SEEN_JOB = "heads.seen";

/** Where a subscriber can be cut off: an event came and nothing was done yet; around its commit; around that of a head. */
export const subscriberFailpoints: readonly string[] = [
  "event.received",
  `${APPLY_JOB}.before-commit`,
  `${APPLY_JOB}.after-commit`,
  `${SEEN_JOB}.before-commit`,
  `${SEEN_JOB}.after-commit`,
];
