import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  AppRegisteredSchema,
  AuthAnnouncedSchema,
  BackboneChangedSchema,
  KeyRotatedSchema,
  NamespaceActivatedSchema,
  NamespaceClaimedSchema,
  RegistryKeysPublishedSchema,
  ServiceBoundSchema,
  ServiceSuspendedSchema,
  ServiceUnboundSchema,
} from "../../gen/omi/registry/v1/log_pb.ts";
import { UnusableFileError } from "../core/unusable-file.ts";

const schemas = [
  RegistryKeysPublishedSchema,
  NamespaceClaimedSchema,
  NamespaceActivatedSchema,
  AppRegisteredSchema,
  BackboneChangedSchema,
  AuthAnnouncedSchema,
  ServiceBoundSchema,
  KeyRotatedSchema,
  ServiceSuspendedSchema,
  ServiceUnboundSchema,
] as const;

/** What a rule decides and the log keeps: everything a projection needs, so that nothing is ever decided again. */
export type Effect = MessageShape<(typeof schemas)[number]>;

const schemaByName = new Map<string, DescMessage>(schemas.map((schema) => [schema.typeName, schema]));

/** The effect in the deterministic encoding. */
export function encodeEffect(effect: Effect): Uint8Array {
  return toBinary(schemaOf(effect.$typeName), effect);
}

/**
 * The effect of a log entry.
 *
 * @throws UnusableFileError if this version does not know its type
 */
export function decodeEffect(type: string, bytes: Uint8Array): Effect {
  return fromBinary(schemaOf(type), bytes) as Effect;
}

/** The app that an effect changes, undefined for effects on the registry or a namespace. */
export function appOf(effect: Effect): string | undefined {
  return "appId" in effect ? effect.appId : undefined;
}

function schemaOf(type: string): DescMessage {
  const schema = schemaByName.get(type);
  if (schema !== undefined) return schema;
  throw new UnusableFileError(`the log has an effect of a newer version (${type})`, "Start the newer version again.");
}
