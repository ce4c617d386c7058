import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { App } from "../../gen/omi/registry/v1/app_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { fieldInvalid } from "../core/field-invalid.ts";
import { isRefusal, Reason, Refusal } from "../core/refusal.ts";
import type { Registries } from "../directory/registries.ts";
import { checkAudience } from "../statement/audience.ts";
import { type OpenedRequest, openRequest, verifySignature } from "../statement/statement.ts";
import { registryFailure } from "./registry-outcome.ts";

/** A developer's order to a provider, with the app it is about as the registry answered just now. */
export type MasterOrder<Desc extends DescMessage> = {
  readonly opened: OpenedRequest<Desc>;
  readonly app: App;
};

/** What {@link MasterOrders} needs. */
export type MasterOrdersOptions = {
  /** The provider's domain: the only audience that an order may have. */
  readonly domain: string;
  readonly registries: Registries;
  /**
   * The public half of a key with this ID that the provider knows in another role than the Master's: its Provider key,
   * Service keys of its tenants. Tells a signer without authority from one that nobody knows.
   */
  readonly otherKey: (keyId: string) => Uint8Array | undefined;
};

/** Opens what developers ask of a provider. */
export class MasterOrders {
  readonly #options: MasterOrdersOptions;

  constructor(options: MasterOrdersOptions) {
    this.#options = options;
  }

  /**
   * Opens and verifies an order: form, type, audience, and then the signature by the Master key that the app's registry
   * names at this moment (the Identity Pulse: one fresh read). Whether the order is new, fresh and allowed is decided later,
   * in the transaction of what it changes.
   *
   * @throws Refusal what is wrong with the Statement; APP_UNKNOWN, REGISTRY_MISMATCH, REGISTRY_UNAVAILABLE or
   *   ANSWER_INVALID from the Pulse; SIGNER_UNKNOWN, SIGNER_NOT_AUTHORIZED or SIGNATURE_INVALID
   */
  async open<Desc extends DescMessage>(schema: Desc, statement: Statement | undefined): Promise<MasterOrder<Desc>> {
    if (statement === undefined) throw fieldInvalid("statement", "required");
    const opened = openRequest(schema, statement);
    checkAudience(opened, this.#options.domain);
    const app = await pulse(appIdOf(opened.message), this.#options.registries);
    await verifyMaster(opened, app, this.#options);
    return { opened, app };
  }
}

async function pulse(appId: string, registries: Registries): Promise<App> {
  const registry = registries.forApp(appId);
  try {
    return (await registry.resolveApp(appId, { fresh: true })).value;
  } catch (error) {
    throw pulseFailure(error, registry.domain);
  }
}

/** What a failed Pulse means for the developer. An app that the registry doesn't know is their mistake, not a refusal of ours. */
function pulseFailure(error: unknown, registry: string): unknown {
  if (isRefusal(error, Reason.APP_UNKNOWN) || isRefusal(error, Reason.REGISTRY_MISMATCH)) {
    return new Refusal(error.reason, error.message, { metadata: error.metadata, cause: error });
  }
  return registryFailure(error, registry);
}

async function verifyMaster(opened: OpenedRequest, app: App, { otherKey }: MasterOrdersOptions): Promise<void> {
  const { signer } = opened.header;
  if (signer === app.masterKeyId) return verifySignature(opened, app.masterPublicKey);
  const authKey = app.context?.authKeys.find(({ keyId }) => keyId === signer)?.publicKey;
  const known = authKey ?? otherKey(signer);
  const field = "header.signer";
  if (known === undefined) {
    throw new Refusal(Reason.SIGNER_UNKNOWN, `${field}: no key of this app`, { metadata: { field } });
  }
  await verifySignature(opened, known);
  throw new Refusal(Reason.SIGNER_NOT_AUTHORIZED, `${field}: not the app's Master key`, { metadata: { field } });
}

/** The app that an order is about. Every order has the field, and its bounds have been checked. */
function appIdOf(message: MessageShape<DescMessage>): string {
  const { appId } = message as { appId?: unknown };
  if (typeof appId !== "string") throw new TypeError(`${message.$typeName} names no app`);
  return appId;
}
