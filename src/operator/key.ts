import { existsSync } from "node:fs";
import type { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import type { Random } from "../core/random.ts";
import { generateSigningKey, loadSigningKey, saveSigningKey } from "../developer/signing-key.ts";
import type { SigningKey } from "../statement/crypto.ts";

/**
 * The key of a file; a new key in a new file if there is none.
 *
 * @throws KeyFileError if the file can't be used, or is for another role
 */
export function loadOrMakeKey(path: string, role: KeyRole, random: Random): SigningKey {
  if (existsSync(path)) return loadSigningKey(path, role);
  const key = generateSigningKey(random);
  saveSigningKey(path, role, key);
  return key;
}
