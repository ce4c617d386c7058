import { type Argon2Parameters, argon2, timingSafeEqual } from "node:crypto";
import type { Random } from "../core/random.ts";

/** What a hash costs. Raising it makes guessing dearer, and signing in too. */
export type PasswordCost = {
  /** Memory in KiB. */
  readonly memoryKib: number;
  /** Passes over that memory. */
  readonly passes: number;
  /** Lanes that could be computed at the same time. */
  readonly parallelism: number;
};

/** The least that OWASP's password storage cheat sheet asks of Argon2id: 19 MiB, two passes, one lane. */
export const DEFAULT_PASSWORD_COST: PasswordCost = { memoryKib: 19_456, passes: 2, parallelism: 1 };

const SALT_LENGTH = 16; // RFC 9106 section 3.1
const TAG_LENGTH = 32;

// The PHC string format, https://github.com/P-H-C/phc-string-format, with the only version of Argon2 that is in use (1.3).
const PHC =
  /^\$argon2id\$v=19\$m=([1-9]\d{0,6}),t=([1-9]\d{0,2}),p=([1-9]\d?)\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})$/;

/**
 * Hashes a password with Argon2id (RFC 9106), on the thread pool.
 *
 * @param password UTF-8 of it is what counts; no normalisation
 * @returns a PHC string, which holds the salt and the cost, so that the cost can change later
 */
export async function hashPassword(password: string, cost: PasswordCost, random: Random): Promise<string> {
  const salt = random(SALT_LENGTH);
  const tag = await argon2id(password, salt, cost);
  const { memoryKib, passes, parallelism } = cost;
  return `$argon2id$v=19$m=${memoryKib},t=${passes},p=${parallelism}$${toBase64(salt)}$${toBase64(tag)}`;
}

/**
 * True if `phc` is a hash of `password`. Takes as long as the cost in `phc` says, whatever the outcome.
 *
 * @throws Error if `phc` was not made by {@link hashPassword}
 */
export async function verifyPassword(password: string, phc: string): Promise<boolean> {
  const { salt, tag, cost } = parsePhc(phc);
  return timingSafeEqual(await argon2id(password, salt, cost), tag);
}

/** True if `phc` was made at another cost than `cost`, so that the password should be hashed again. */
export function hasOtherCost(phc: string, cost: PasswordCost): boolean {
  const { memoryKib, passes, parallelism } = parsePhc(phc).cost;
  return memoryKib !== cost.memoryKib || passes !== cost.passes || parallelism !== cost.parallelism;
}

function parsePhc(phc: string): { salt: Buffer; tag: Buffer; cost: PasswordCost } {
  const [, memory, passes, parallelism, salt, tag] = PHC.exec(phc) ?? [];
  if (salt === undefined || tag === undefined) throw new Error("not a password hash of this server");
  return {
    salt: Buffer.from(salt, "base64"),
    tag: Buffer.from(tag, "base64"),
    cost: { memoryKib: Number(memory), passes: Number(passes), parallelism: Number(parallelism) },
  };
}

function argon2id(password: string, nonce: Uint8Array, cost: PasswordCost): Promise<Buffer> {
  const parameters: Argon2Parameters = {
    message: password,
    nonce,
    memory: cost.memoryKib,
    passes: cost.passes,
    parallelism: cost.parallelism,
    tagLength: TAG_LENGTH,
  };
  return new Promise((resolve, reject) => {
    argon2("argon2id", parameters, (error, tag) => (error === null ? resolve(tag) : reject(error)));
  });
}

/** Base64 without padding, as the PHC format wants it. */
function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64").replaceAll("=", "");
}
