import { closeSync, constants, fstatSync, openSync, readSync, unlinkSync, writeFileSync } from "node:fs";
import { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { fromBase64Url, toBase64Url } from "./bytes.ts";

/** What a key file holds: one Ed25519 key pair and what it is for. */
export type KeyFile = {
  /** The role the key was made for. */
  readonly role: KeyRole;
  /** The secret seed, 32 bytes. Never print or log it. */
  readonly seed: Uint8Array;
  /** The public key, 32 bytes, as the file states it. Whoever makes a key pair of the seed compares. */
  readonly publicKey: Uint8Array;
  /** The key ID, as the file states it. */
  readonly keyId: string;
};

/** A key file that can't be written or must not be used. The message names the file and never what is in it. */
export class KeyFileError extends Error {
  override readonly name = "KeyFileError";
  /** What to do about it, in one sentence. */
  readonly nextStep: string;

  constructor(message: string, nextStep: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.nextStep = nextStep;
  }
}

const ALGORITHM = "ed25519";
const MAX_FILE_LENGTH = 4096;
const KEY_LENGTH = 32;
const ROLE_NAMES: ReadonlyMap<KeyRole, string> = new Map([
  [KeyRole.MASTER, "master"],
  [KeyRole.GUARDIAN, "guardian"],
  [KeyRole.REGISTRY, "registry"],
  [KeyRole.PROVIDER, "provider"],
  [KeyRole.AUTH, "auth"],
  [KeyRole.SERVICE, "service"],
]);

/** The roles as they are written in key files and on command lines, e.g. `master`. */
export const KEY_ROLE_NAMES: readonly string[] = [...ROLE_NAMES.values()];

/** The written name of a role; undefined for a role that no key has. */
export function keyRoleName(role: KeyRole): string | undefined {
  return ROLE_NAMES.get(role);
}

/** The role of a written name; undefined for any other text. */
export function parseKeyRole(name: string): KeyRole | undefined {
  for (const [role, known] of ROLE_NAMES) if (known === name) return role;
  return undefined;
}

/**
 * Writes a key into a new file that only its owner can read (0600), and waits until it is on disk.
 *
 * @throws KeyFileError if the path exists already (a key is never overwritten), or it can't be written: nothing is left of it then
 */
export function writeKeyFile(path: string, key: KeyFile): void {
  const role = keyRoleName(key.role);
  if (role === undefined || key.seed.length !== KEY_LENGTH) throw new RangeError("not a key with a role");
  const text = JSON.stringify(
    {
      algorithm: ALGORITHM,
      role,
      seed: toBase64Url(key.seed),
      public_key: toBase64Url(key.publicKey),
      key_id: key.keyId,
    },
    undefined,
    2,
  );
  const file = open(path, "wx");
  try {
    writeFileSync(file, `${text}\n`, { flush: true });
  } catch (error) {
    // Part of a key would look like one, and stand in the way of the next attempt. A crash just here leaves it nevertheless.
    unlinkSync(path);
    throw new KeyFileError(
      `${path} can't be written (${codeOf(error)})`,
      "Make room there, or choose another path.",
      error,
    );
  } finally {
    closeSync(file);
  }
}

/**
 * Reads a key file.
 *
 * @throws KeyFileError if it is missing, not a key file, or readable by anybody but its owner
 */
export function readKeyFile(path: string): KeyFile {
  return parseKeyFile(path, readPrivateText(path));
}

/**
 * Reads a small file that holds a secret.
 *
 * @param maxLength - in bytes
 * @throws KeyFileError if it is missing, no plain file, longer than that, or readable by anybody but its owner
 */
export function readPrivateText(path: string, maxLength = MAX_FILE_LENGTH): string {
  const file = open(path, constants.O_RDONLY);
  try {
    // Of the file that is open, so that nobody can swap it between the check and the reading.
    const { mode, size } = fstatSync(file);
    if ((mode & constants.S_IFMT) !== constants.S_IFREG || size > maxLength) {
      throw new KeyFileError(`${path} is no file of at most ${maxLength} bytes`, "Check the path.");
    }
    // Windows has no such modes and reports 0666 for every file.
    if (process.platform !== "win32" && (mode & 0o077) !== 0) {
      throw new KeyFileError(`${path} can be read by others`, `Take their access away: chmod 600 ${path}`);
    }
    const bytes = Buffer.alloc(size);
    return bytes.toString("utf8", 0, readSync(file, bytes, 0, size, 0));
  } finally {
    closeSync(file);
  }
}

function open(path: string, flags: string | number): number {
  try {
    return openSync(path, flags, 0o600);
  } catch (error) {
    const code = codeOf(error);
    if (code === "EEXIST") {
      throw new KeyFileError(`${path} exists already`, "Choose another path; a key is never overwritten.");
    }
    if (code === "ENOENT") throw new KeyFileError(`${path} does not exist`, "Check the path.");
    throw new KeyFileError(`${path} can't be opened (${code})`, "Check the path and your rights there.", error);
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

function parseKeyFile(path: string, text: string): KeyFile {
  const json = parseObject(text);
  const role = parseKeyRole(textOf(json, "role"));
  const seed = fromBase64Url(textOf(json, "seed"));
  const publicKey = fromBase64Url(textOf(json, "public_key"));
  const keyId = textOf(json, "key_id");
  if (
    textOf(json, "algorithm") !== ALGORITHM ||
    role === undefined ||
    seed?.length !== KEY_LENGTH ||
    publicKey?.length !== KEY_LENGTH ||
    keyId === ""
  ) {
    throw notAKeyFile(path);
  }
  return { role, seed, publicKey, keyId };
}

function notAKeyFile(path: string): KeyFileError {
  // No cause: the message of a JSON error quotes the text around it.
  return new KeyFileError(`${path} is not a key file`, "Make one with: omi keygen --role master --out <path>");
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === "object" && json !== null ? (json as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function textOf(json: Readonly<Record<string, unknown>>, name: string): string {
  const value = json[name];
  return typeof value === "string" ? value : "";
}
