/**
 * Named places where a test can make a part fail, to see what is true after a crash there. Production code passes
 * {@link noFailpoints}; a test passes a function that throws or never returns at the name it wants.
 */
export type Failpoint = (name: string) => void | Promise<void>;

/** Never fails. */
export const noFailpoints: Failpoint = () => {};
