import type { PublicKeyProblem } from "./public-key.ts";

// Node runs this on OpenSSL, every other platform on JavaScript; package.json's "imports" chooses.
export { createSigningKey, exportSeed, publicKeyProblem, sha256, verify } from "#statement-crypto";
export type { PublicKeyProblem };

/** A key pair that signs. The secret half stays inside; only {@link StatementCrypto.exportSeed} takes it out. */
export type SigningKey = {
  /** The public half, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** The RFC 7638 thumbprint of the public half: how the key is named everywhere. */
  readonly keyId: string;
  /** The Ed25519 signature of `message`, 64 bytes. */
  sign(message: Uint8Array): Uint8Array;
  /** The same, made beside what the caller does meanwhile if the platform can. `message` must not change until then. */
  signAside(message: Uint8Array): Promise<Uint8Array>;
};

/** What the two implementations have in common. They accept exactly the same keys and signatures. */
export type StatementCrypto = {
  /** The SHA-256 digest, 32 bytes. */
  sha256(bytes: Uint8Array): Uint8Array;

  /**
   * Verifies a signature by the one Ed25519 rule (see `ed25519-form.ts`). Never rejects because of what a stranger sent:
   * keys and signatures of any length and content give false.
   */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean>;

  /** Why a public key must not be taken in; undefined if it is good. */
  publicKeyProblem(publicKey: Uint8Array): PublicKeyProblem | undefined;

  /**
   * The key pair of a secret seed (RFC 8032 section 5.1.5).
   *
   * @param seed 32 unpredictable bytes
   * @throws RangeError for another length
   */
  createSigningKey(seed: Uint8Array): SigningKey;

  /**
   * The secret seed of a key, for writing a key file.
   *
   * @throws TypeError if the key was not made by this implementation's {@link StatementCrypto.createSigningKey}
   */
  exportSeed(key: SigningKey): Uint8Array;
};
