import type { DescMessage } from "@bufbuild/protobuf";
import { Reason, Refusal } from "../core/refusal.ts";
import { keyIdOf } from "../statement/key-id.ts";
import { signersOf } from "../statement/signable.ts";
import type { OpenedRequest } from "../statement/statement.ts";
import type { RegistryCore } from "./core.ts";
import type { KeyRow } from "./store.ts";

/**
 * The key, current or historic, that a statement's header names, if it has a role that may sign this message.
 *
 * @throws Refusal SIGNER_UNKNOWN
 */
export function registeredSigner(core: RegistryCore, opened: OpenedRequest, schema: DescMessage): KeyRow {
  const key = core.store.key(opened.header.signer);
  if (key !== undefined && signersOf(schema).includes(key.role)) return key;
  throw signerUnknown(opened.field);
}

/**
 * The key that a statement itself brings in, and must be signed with.
 *
 * @throws Refusal SIGNER_UNKNOWN if the header names another key
 */
export function ownSigner(opened: OpenedRequest, publicKey: Uint8Array): Uint8Array {
  if (keyIdOf(publicKey) !== opened.header.signer) throw signerUnknown(opened.field);
  return publicKey;
}

/** No key with this ID may sign here. */
function signerUnknown(field: string): Refusal {
  return new Refusal(Reason.SIGNER_UNKNOWN, "header.signer names no key that may sign this", {
    metadata: { field: field === "" ? "header.signer" : `${field}.header.signer` },
  });
}
