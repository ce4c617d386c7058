import { create } from "@bufbuild/protobuf";
import { type Header, HeaderSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { parseAppId } from "../core/app-id.ts";
import type { Random } from "../core/random.ts";

const NONCE_LENGTH = 16;

/** A new header for a Statement to the registry of an app; signing fills in the signer. */
export function headerForRegistryOf(appId: string, now: number, random: Random): Header {
  return headerFor(registryDomainOf(appId), now, random);
}

/**
 * A new header for a Statement; signing fills in the signer.
 *
 * @param audience the domain of the party that is meant to act
 * @param now Unix seconds
 */
export function headerFor(audience: string, now: number, random: Random): Header {
  return create(HeaderSchema, { audience, timestamp: BigInt(now), nonce: random(NONCE_LENGTH) });
}

/**
 * The domain of an app's registry.
 *
 * @throws TypeError if it is no AppID; those of orders and tenants have been checked
 */
export function registryDomainOf(appId: string): string {
  const parsed = parseAppId(appId);
  if (parsed === undefined) throw new TypeError("not an AppID");
  return parsed.registryDomain;
}
