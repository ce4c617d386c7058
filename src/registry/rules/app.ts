import { create } from "@bufbuild/protobuf";
import type { AppManifest, BackboneUpdate } from "../../../gen/omi/registry/v1/app_pb.ts";
import {
  type AppRegistered,
  AppRegisteredSchema,
  type BackboneChanged,
  BackboneChangedSchema,
} from "../../../gen/omi/registry/v1/log_pb.ts";
import { NamespaceStatus } from "../../../gen/omi/registry/v1/namespace_pb.ts";
import { appIdHash, formatAppId } from "../../core/app-id.ts";
import { fieldInvalid } from "../../core/field-invalid.ts";
import { isReservedSlug } from "../../core/names.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import type { AppRow, NamespaceRow } from "../store.ts";
import { requireApp, requireMaster } from "./authority.ts";

/**
 * Decides a registration and assigns the AppID.
 *
 * @param registryDomain this registry
 * @param dataDigest SHA-256 of the manifest's signed data
 */
export function decideAppManifest(
  facts: { namespace: NamespaceRow | undefined; slugTaken: boolean },
  manifest: AppManifest,
  signer: string,
  registryDomain: string,
  dataDigest: Uint8Array,
): AppRegistered {
  const { namespace } = facts;
  if (namespace === undefined) {
    throw new Refusal(Reason.NAMESPACE_UNKNOWN, "this registry has no such namespace", {
      nextStep: "claim the namespace first",
    });
  }
  if (namespace.masterKeyId !== signer) {
    throw new Refusal(Reason.SIGNER_NOT_AUTHORIZED, "only the namespace's Master key may register apps in it", {
      metadata: { field: "header.signer" },
    });
  }
  if (namespace.status !== NamespaceStatus.ACTIVE) {
    throw new Refusal(Reason.NAMESPACE_PENDING, "the namespace is not active yet", {
      nextStep: "activate it with the code that was sent to its contact",
    });
  }
  if (isReservedSlug(manifest.projectSlug)) {
    throw new Refusal(Reason.NAME_RESERVED, "this slug is reserved", { metadata: { field: "project_slug" } });
  }
  if (facts.slugTaken) {
    throw new Refusal(Reason.APP_EXISTS, "the namespace has an app with this slug, or one that looks like it");
  }
  return create(AppRegisteredSchema, {
    appId: formatAppId({
      registryDomain,
      namespace: namespace.namespace,
      slug: manifest.projectSlug,
      hash: appIdHash(dataDigest),
    }),
    ownerNamespace: namespace.namespace,
    projectSlug: manifest.projectSlug,
    displayName: manifest.displayName,
    description: manifest.description,
  });
}

/** Decides a new backbone. */
export function decideBackboneUpdate(
  facts: { app: AppRow | undefined },
  update: BackboneUpdate,
  signer: string,
): BackboneChanged {
  const app = requireApp(facts.app);
  requireMaster(app, signer);
  const names = new Set(update.operationalServices.map((service) => `${service.role} ${service.name}`));
  if (names.size !== update.operationalServices.length) {
    throw fieldInvalid("operational_services", "unique", {
      must: "must not have the same role and name twice",
    });
  }
  return create(BackboneChangedSchema, {
    appId: app.appId,
    configEpoch: nextEpoch(app, update.expectedConfigEpoch),
    operationalServices: update.operationalServices,
  });
}

/**
 * The epoch behind the one that the developer built on.
 *
 * @throws Refusal EPOCH_MISMATCH
 */
export function nextEpoch(app: AppRow, expected: bigint): bigint {
  const current = BigInt(app.configEpoch);
  if (expected !== current) {
    throw new Refusal(Reason.EPOCH_MISMATCH, "the app's configuration changed in between", {
      metadata: { config_epoch: String(current) },
    });
  }
  return current + 1n;
}
