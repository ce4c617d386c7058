/** Something about a carrier's server or configuration that only an operator can set right. */
export class SetupError extends Error {
  override readonly name = "SetupError";
  /** What to do about it, in one sentence. */
  readonly nextStep: string;

  constructor(message: string, nextStep: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.nextStep = nextStep;
  }
}
