import type { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { equalBytes } from "../core/bytes.ts";
import { KeyFileError, keyRoleName, readKeyFile, writeKeyFile } from "../core/key-file.ts";
import type { Random } from "../core/random.ts";
import { createSigningKey, exportSeed, type SigningKey } from "../statement/crypto.ts";
import { SEED_LENGTH } from "../statement/ed25519-form.ts";

/** Makes a new key pair. */
export function generateSigningKey(random: Random): SigningKey {
  return createSigningKey(random(SEED_LENGTH));
}

/**
 * Writes a key pair into a new key file.
 *
 * @throws KeyFileError as {@link writeKeyFile}
 */
export function saveSigningKey(path: string, role: KeyRole, key: SigningKey): void {
  writeKeyFile(path, { role, seed: exportSeed(key), publicKey: key.publicKey, keyId: key.keyId });
}

/**
 * Reads the key pair in a key file.
 *
 * @param role what the key must have been made for
 * @throws KeyFileError as {@link readKeyFile}, and for a key of another role or whose halves don't belong together
 */
export function loadSigningKey(path: string, role: KeyRole): SigningKey {
  const file = readKeyFile(path);
  if (file.role !== role) {
    const [found, wanted] = [keyRoleName(file.role), keyRoleName(role)];
    throw new KeyFileError(`${path} holds a ${found} key`, `Give the path of a ${wanted} key.`);
  }
  const key = createSigningKey(file.seed);
  if (!equalBytes(key.publicKey, file.publicKey) || key.keyId !== file.keyId) {
    throw new KeyFileError(`${path} was changed: its public key is not that of its seed`, "Restore it from a copy.");
  }
  return key;
}
