import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { create } from "@bufbuild/protobuf";
import { z } from "zod";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { RegistryKeySchema } from "../../gen/omi/registry/v1/registry_pb.ts";
import { fromBase64Url, toBase64Url } from "../core/bytes.ts";
import type { Pin, PinStore } from "./pin-store.ts";

/**
 * Keeps pins in a JSON file that people can read, as `known_hosts` does for SSH. Each change replaces the file in one step,
 * so a crash leaves the old or the new one.
 *
 * @param path the file; made, with its folder, when the first pin is kept
 * @throws Error from both methods if the file exists and is not one of pins: rather no answer than a new first contact
 */
export function createPinFile(path: string): PinStore {
  return {
    load: (domain) => readPins(path).find((pin) => pin.domain === domain),
    save(pin) {
      const others = readPins(path).filter(({ domain }) => domain !== pin.domain);
      replaceFile(path, `${JSON.stringify({ registries: [...others, pin].map(toJson) }, undefined, 2)}\n`);
    },
  };
}

// What a registry states must never make a file that can't be read: integers that a JSON number can't hold are texts in it.
const integer = z.union([z.number().int(), z.string().regex(/^-?\d{1,20}$/)]);
const pinSchema = z.strictObject({
  domain: z.string(),
  anchor: z.string(),
  version: integer,
  keys: z.array(z.strictObject({ public_key: z.string(), not_before: integer, not_after: integer })),
});
const fileSchema = z.strictObject({ registries: z.array(pinSchema) });

function readPins(path: string): Pin[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
  try {
    return fileSchema.parse(JSON.parse(text)).registries.map(fromJson);
  } catch (cause) {
    throw new Error(`${path} is not a file of registry keys`, { cause });
  }
}

function fromJson(json: z.infer<typeof pinSchema>): Pin {
  return {
    domain: json.domain,
    anchor: json.anchor,
    version: BigInt(json.version),
    keys: json.keys.map((key) => {
      const publicKey = fromBase64Url(key.public_key);
      if (publicKey === undefined) throw new TypeError("not base64url");
      return create(RegistryKeySchema, {
        publicKey,
        algorithm: KeyAlgorithm.ED25519,
        notBefore: BigInt(key.not_before),
        notAfter: BigInt(key.not_after),
      });
    }),
  };
}

function toJson(pin: Pin): z.infer<typeof pinSchema> {
  return {
    domain: pin.domain,
    anchor: pin.anchor,
    version: jsonInteger(pin.version),
    keys: pin.keys.map((key) => ({
      public_key: toBase64Url(key.publicKey),
      not_before: jsonInteger(key.notBefore),
      not_after: jsonInteger(key.notAfter),
    })),
  };
}

function jsonInteger(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

function replaceFile(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}.new`;
  const file = openSync(temporary, "w", 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
}
