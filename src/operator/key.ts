import { existsSync } from "node:fs";
import type { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { equalBytes } from "../core/bytes.ts";
import { KeyFileError, keyRoleName, readKeyFile, writeKeyFile } from "../core/key-file.ts";
import type { Random } from "../core/random.ts";
import { createSigningKey, exportSeed, type SigningKey } from "../statement/crypto.ts";

/**
 * The signing key of a key file.
 *
 * @throws KeyFileError if it can't be used, or is for another role
 */
export function loadKey(path: string, role: KeyRole): SigningKey {
  const file = readKeyFile(path);
  const key = createSigningKey(file.seed);
  if (file.role !== role || !equalBytes(key.publicKey, file.publicKey)) {
    throw new KeyFileError(`${path} holds no ${keyRoleName(role)} key`, "Check which file is configured.");
  }
  return key;
}

/** The key of a file; a new key in a new file if there is none. */
export function loadOrMakeKey(path: string, role: KeyRole, random: Random): SigningKey {
  if (existsSync(path)) return loadKey(path, role);
  const key = createSigningKey(random(32));
  writeKeyFile(path, { role, seed: exportSeed(key), publicKey: key.publicKey, keyId: key.keyId });
  return key;
}
