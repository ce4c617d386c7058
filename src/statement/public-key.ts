import { LruCache } from "../core/lru-cache.ts";
import { hasCanonicalY, isSmallOrder, PUBLIC_KEY_LENGTH } from "./ed25519-form.ts";
import { isOnCurve } from "./on-curve.ts";

/** Why 32 bytes, or another number of them, are not accepted as an Ed25519 public key. */
export type PublicKeyProblem = "length" | "not_canonical" | "small_order" | "not_on_curve";

/**
 * The check that every party makes before it takes in a public key from anybody.
 *
 * @returns undefined if the key is good
 */
export function publicKeyProblem(publicKey: Uint8Array): PublicKeyProblem | undefined {
  if (publicKey.length !== PUBLIC_KEY_LENGTH) return "length";
  if (!hasCanonicalY(publicKey)) return "not_canonical";
  if (isSmallOrder(publicKey)) return "small_order";
  const name = String.fromCharCode(...publicKey);
  if (knownOnCurve.get(name)) return undefined;
  if (!isOnCurve(publicKey)) return "not_on_curve";
  knownOnCurve.set(name, true);
  return undefined;
}

// The same new key is often seen several times in a row: in a request, in the proof of its possession, in a retry.
const knownOnCurve = new LruCache<string, true>(1024);
