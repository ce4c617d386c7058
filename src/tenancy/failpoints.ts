/** The failpoints around the commit of a WriteQueue job. */
export function commitFailpoints(job: string): string[] {
  return [`${job}.before-commit`, `${job}.after-commit`];
}

/** Where a key rotation can be cut off. Those of `rotation.sign-again` are passed only after a Rotation became too old. */
export const rotationFailpoints: readonly string[] = [
  ...commitFailpoints("rotation.begin"),
  "rotation.before-call",
  "rotation.after-call",
  ...commitFailpoints("rotation.sign-again"),
  ...commitFailpoints("rotation.refuse"),
  ...commitFailpoints("rotation.finish"),
];

/** Where a termination can be cut off. */
export const terminationFailpoints: readonly string[] = [
  ...commitFailpoints("termination.begin"),
  "termination.before-hook",
  "termination.after-hook",
  ...commitFailpoints("termination.finish"),
];
