import { type DescMessage, getOption, hasOption } from "@bufbuild/protobuf";
import type { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { type Audience, type Signable, signable as signableOption } from "../../gen/omi/options/v1/options_pb.ts";

/** The roles whose keys may sign a message of this type. */
export function signersOf(schema: DescMessage): readonly KeyRole[] {
  return signableOf(schema).signers;
}

/** Whose domain stands in the header of a message of this type. */
export function audienceOf(schema: DescMessage): Audience {
  return signableOf(schema).audience;
}

/** How old a message of this type may be when it is nested in another one, in seconds; Infinity for no limit. */
export function nestedMaxAgeOf(schema: DescMessage): number {
  return signableOf(schema).nestedMaxAgeSeconds || Number.POSITIVE_INFINITY;
}

const signables = new WeakMap<DescMessage, Signable>();

/**
 * The `signable` option of a message type.
 *
 * @throws TypeError if the contract gives it none, so that nobody may sign it
 */
function signableOf(schema: DescMessage): Signable {
  let signable = signables.get(schema);
  if (signable === undefined) {
    if (!hasOption(schema, signableOption)) throw new TypeError(`${schema.typeName} is not signable`);
    signable = getOption(schema, signableOption);
    signables.set(schema, signable);
  }
  return signable;
}
