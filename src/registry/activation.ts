import { createHash, timingSafeEqual } from "node:crypto";
import { appendFile } from "node:fs/promises";
import type { Logger } from "pino";
import type { Random } from "../core/random.ts";

/** Sends an activation code to a namespace's contact. A deployment brings its own, e.g. over e-mail. */
export interface CodeSender {
  /**
   * @throws if the code could not be handed over; the claim stays pending and the log tells the operator so, without the
   *   error's message, which may quote the address. A sender that knows more to say logs it itself.
   */
  send(message: { namespace: string; email: string; code: string }): Promise<void>;
}

/** Writes codes into a file that only its owner can read, one JSON object a line: for development. */
export function fileCodeSender(path: string): CodeSender {
  return {
    send: (message) => appendFile(path, `${JSON.stringify(message)}\n`, { mode: 0o600 }),
  };
}

/** Sends a code. If that fails, the log tells the operator. */
export async function sendCode(
  { codeSender, logger }: { codeSender: CodeSender | undefined; logger: Logger },
  message: Parameters<CodeSender["send"]>[0],
): Promise<void> {
  try {
    await codeSender?.send(message);
  } catch (error) {
    // Its message may well quote the address or the code.
    const kind = error instanceof Error ? error.name : typeof error;
    logger.error({ kind, namespace: message.namespace }, "activation code could not be sent");
  }
}

// Crockford's base 32: no letters that look alike.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** A new code: 12 characters, 60 bits, too many to guess however many sources try. */
export function newCode(random: Random): string {
  return Array.from(random(12), (byte) => alphabet.charAt(byte % 32)).join("");
}

/** What is kept of a code. */
export function codeHash(code: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(code.trim().toUpperCase()).digest());
}

/** Compares in constant time. */
export function codeMatches(code: string, hash: Uint8Array): boolean {
  return timingSafeEqual(codeHash(code), hash);
}
