/** A file that a configuration or a command names, and that can't be used. The message names it, and never what is in it. */
export class UnusableFileError extends Error {
  override readonly name = "UnusableFileError";
  /** What to do about it, in one sentence. */
  readonly nextStep: string;

  constructor(message: string, nextStep: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.nextStep = nextStep;
  }
}
