import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import type { FaultMember } from "./fault-member.ts";

/**
 * How the disk of a part fails: it is full, so that files that grow can't be written, or it takes no write at all, as one
 * that was mounted anew for reading only.
 */
export type DiskFailure = "full" | "read-only";

/**
 * Makes the disk of a running part fail, with a limit of the operating system on the size of the files that the process
 * writes (`RLIMIT_FSIZE`). Needs `prlimit` (util-linux).
 *
 * @param databaseFile the part's SQLite file, whose write-ahead log is the one that grows
 */
export function failDisk(member: FaultMember, databaseFile: string, failure: DiskFailure): void {
  limitFileSize(member, failure === "full" ? String(statSync(`${databaseFile}-wal`).size) : "0");
}

/** Makes the disk of a running part good again. */
export function repairDisk(member: FaultMember): void {
  limitFileSize(member, "unlimited");
}

/** Sets the soft limit and leaves the hard one, so that it can be lifted again. */
function limitFileSize({ processId }: FaultMember, limit: string): void {
  try {
    execFileSync("prlimit", ["--pid", String(processId), `--fsize=${limit}:`]);
  } catch (error) {
    throw new Error("disks are made to fail with prlimit of util-linux, for a process of one's own", { cause: error });
  }
}
