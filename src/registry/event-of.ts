import type { MessageInitShape } from "@bufbuild/protobuf";
import { EventReason, type EventSchema, EventType } from "../../gen/omi/event/v1/event_pb.ts";
import { AUTH_SERVICE_ID } from "../core/names.ts";
import type { Effect } from "./effects.ts";

/** What of an event follows from the effect alone. */
export type EventFacts = Omit<
  MessageInitShape<typeof EventSchema>,
  "header" | "origin" | "sequence" | "logIndex" | "configEpoch" | "$typeName" | "$unknown"
>;

/** What listeners of an app are told about an effect; undefined for effects that concern no app. */
export function eventOf(effect: Effect): EventFacts | undefined {
  switch (effect.$typeName) {
    case "omi.registry.v1.RegistryKeysPublished":
    case "omi.registry.v1.NamespaceClaimed":
    case "omi.registry.v1.NamespaceActivated":
      return undefined;
    case "omi.registry.v1.AppRegistered":
      return { appId: effect.appId, event: EventType.APP_REGISTERED };
    case "omi.registry.v1.BackboneChanged":
      return { appId: effect.appId, event: EventType.BACKBONE_UPDATE };
    case "omi.registry.v1.AuthAnnounced":
      return {
        appId: effect.appId,
        serviceId: AUTH_SERVICE_ID,
        event: EventType.AUTH_CHANGED,
        oldPublicKey: effect.previousAuthPublicKey,
        newPublicKey: effect.authPublicKey,
        gracePeriodExpiry: effect.previousAuthKeyNotAfter,
      };
    case "omi.registry.v1.ServiceBound":
      return {
        appId: effect.appId,
        serviceId: effect.serviceId,
        event: EventType.SERVICE_BOUND,
        newPublicKey: effect.publicKey,
      };
    case "omi.registry.v1.KeyRotated":
      return {
        appId: effect.appId,
        serviceId: effect.serviceId,
        event: EventType.KEY_ROTATION,
        reason: effect.gracePeriodExpiry === 0n ? EventReason.IMMEDIATE : EventReason.UNSPECIFIED,
        oldPublicKey: effect.oldPublicKey,
        newPublicKey: effect.newPublicKey,
        gracePeriodExpiry: effect.gracePeriodExpiry,
      };
    case "omi.registry.v1.ServiceSuspended":
      return {
        appId: effect.appId,
        serviceId: effect.serviceId,
        event: EventType.KEY_ROTATION,
        reason: EventReason.MASTER_RESET,
        oldPublicKey: effect.oldPublicKey,
      };
    case "omi.registry.v1.ServiceUnbound":
      return {
        appId: effect.appId,
        serviceId: effect.serviceId,
        event: EventType.PURGE,
        oldPublicKey: effect.oldPublicKey,
      };
  }
}
