import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type App,
  AppManifestSchema,
  BackboneUpdateSchema,
  type OperationalServiceSchema,
} from "../../gen/omi/registry/v1/app_pb.ts";
import { appIdHash, formatAppId } from "../core/app-id.ts";
import { answerInvalid } from "../directory/answer-invalid.ts";
import { sha256 } from "../statement/crypto.ts";
import { type DeveloperCore, readFresh, signAsMaster, writeAt } from "./core.ts";

/** An app to register. */
export type AppOrder = {
  /** The domain of the registry. */
  readonly registry: string;
  /** The developer's namespace there. */
  readonly namespace: string;
  /** The app's name in its AppID, e.g. `business_app`. */
  readonly slug: string;
  /** A name for people. */
  readonly displayName: string;
  readonly description?: string;
};

/** A backbone to set. */
export type BackboneOrder = {
  readonly appId: string;
  /** The whole new list; empty clears it. */
  readonly services: readonly MessageInitShape<typeof OperationalServiceSchema>[];
  /** The config epoch that the change builds on. Read from the registry if left out. */
  readonly expectedConfigEpoch?: bigint;
};

/**
 * Registers an app.
 *
 * @throws Refusal ANSWER_INVALID if the registry assigned another AppID than the manifest has
 */
export async function registerApp(core: DeveloperCore, order: AppOrder): Promise<App> {
  const registry = core.connections.registries.forDomain(order.registry);
  const manifest = signAsMaster(core, AppManifestSchema, order.registry, {
    ownerNamespace: order.namespace,
    projectSlug: order.slug,
    displayName: order.displayName,
    description: order.description ?? "",
  });
  const { value: app } = await writeAt(core, registry, manifest, (statement) => registry.registerApp(statement));
  const hash = appIdHash(sha256(manifest.data));
  const appId = formatAppId({ registryDomain: order.registry, namespace: order.namespace, slug: order.slug, hash });
  if (app.appId !== appId) throw answerInvalid(order.registry, "answer.app.app_id", `the AppID is not ${appId}`);
  return app;
}

/** Replaces an app's backbone. */
export async function updateBackbone(core: DeveloperCore, order: BackboneOrder): Promise<App> {
  const { appId } = order;
  const registry = core.connections.registries.forApp(appId);
  const update = signAsMaster(core, BackboneUpdateSchema, registry.domain, {
    appId,
    operationalServices: [...order.services],
    expectedConfigEpoch: order.expectedConfigEpoch ?? (await configEpochOf(core, appId)),
  });
  return (await writeAt(core, registry, update, (statement) => registry.updateBackbone(statement))).value;
}

/** The config epoch of an app now. */
export async function configEpochOf(core: DeveloperCore, appId: string): Promise<bigint> {
  const registry = core.connections.registries.forApp(appId);
  const { value: app } = await readFresh(core, registry, (options) => registry.resolveApp(appId, options));
  return app.context?.configEpoch ?? 0n;
}
