import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { parseAppId } from "../core/app-id.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { nextTurn } from "../core/turns.ts";
import { checkAudience } from "../statement/audience.ts";
import { checkFreshness } from "../statement/freshness.ts";
import { type OpenedRequest, openRequest, verifySignature } from "../statement/statement.ts";
import { commit } from "./commit.ts";
import { type RegistryCore, registryTime } from "./core.ts";
import { appOf, decodeEffect, type Effect } from "./effects.ts";

/** What is particular to one RPC among those that accept a Statement. */
export interface Acceptance<Desc extends DescMessage, Nested> {
  /** Names the write at failpoints, e.g. `bind-service`. */
  name: string;
  schema: Desc;
  /** True if the statement's body holds proofs or receipts, so that the log doesn't show it to strangers. */
  private: boolean;
  /**
   * The key that must have signed: a key that the registry holds, now or in the past, or the very key that is brought in.
   *
   * @throws Refusal SIGNER_UNKNOWN
   */
  signerKey(opened: OpenedRequest<Desc>): Uint8Array;
  /** Verifies the statements nested in it, and fetches what the decision needs from elsewhere. Before the transaction. */
  verifyNested(opened: OpenedRequest<Desc>, now: number): Promise<Nested>;
  /**
   * Loads what the rule needs and applies the rule. Inside the transaction, so everything is still true when the effect
   * is written.
   *
   * @returns undefined if nothing is left to do: what is asked for already holds
   */
  decide(opened: OpenedRequest<Desc>, nested: Nested, now: number): Effect | undefined;
}

/** The outcome of {@link accept}. */
export interface Accepted<Desc extends DescMessage> {
  /** The Statement ID. */
  id: Uint8Array;
  message: MessageShape<Desc>;
  /** What was decided, now or when the statement came first; undefined if nothing was left to do. */
  effect: Effect | undefined;
}

/**
 * The way of a signed write, the same for all: cheap checks first, signatures on the thread pool, then one transaction
 * that decides, appends to the log, applies and spends the nonce.
 *
 * A statement that was accepted before, minutes or months ago, gives its outcome again and changes nothing: a caller who
 * saw no answer repeats the same bytes.
 */
export async function accept<Desc extends DescMessage, Nested>(
  core: RegistryCore,
  statement: Statement,
  acceptance: Acceptance<Desc, Nested>,
): Promise<Accepted<Desc>> {
  const opened = await openSigned(core, statement, acceptance);
  const outcome = (effect: Effect | undefined): Accepted<Desc> => ({ id: opened.id, message: opened.message, effect });
  const known = admit(core, opened);
  if (known !== undefined) return outcome(known);
  const nested = await acceptance.verifyNested(opened, registryTime(core));

  const effect = await core.queue.run(acceptance.name, () => {
    // Again, as other writes were committed since: the same statement may have come twice.
    const known = admit(core, opened);
    if (known !== undefined) return known;
    const now = registryTime(core);
    const decided = acceptance.decide(opened, nested, now);
    if (decided === undefined) return undefined;
    commit(core, { id: opened.id, statement, effect: decided, private: acceptance.private }, now);
    core.nonces.spend(opened, now);
    return decided;
  });
  if (effect !== undefined) {
    core.hub.changed(appOf(effect));
    // The event leaves first: an answer takes longer to make and sign than an event to send.
    await nextTurn();
  }
  return outcome(effect);
}

/**
 * The cheap checks of a statement, and its signature.
 *
 * @throws Refusal what opening it does; AUDIENCE_MISMATCH, REGISTRY_MISMATCH, SIGNER_UNKNOWN, SIGNATURE_INVALID
 */
export async function openSigned<Desc extends DescMessage>(
  core: RegistryCore,
  statement: Statement,
  { schema, signerKey }: Pick<Acceptance<Desc, unknown>, "schema" | "signerKey">,
): Promise<OpenedRequest<Desc>> {
  const opened = openRequest(schema, statement, { allowPlainHttp: core.allowPlainHttp });
  checkAudience(opened, core.domain);
  checkRegistry(core, opened.message);
  await verifySignature(opened, signerKey(opened));
  return opened;
}

/** The effect of a statement that is known; otherwise refuses a spent nonce, and a timestamp outside of the window. */
function admit(core: RegistryCore, opened: OpenedRequest): Effect | undefined {
  const entry = core.log.find(opened.id);
  if (entry !== undefined) return decodeEffect(entry.effectType, entry.effect);
  checkNew(core, opened);
  return undefined;
}

/**
 * Checks what a statement must fulfil that is not known yet.
 *
 * @throws Refusal NONCE_REUSED, TIMESTAMP_TOO_OLD, TIMESTAMP_IN_FUTURE
 */
export function checkNew(core: RegistryCore, opened: OpenedRequest): void {
  core.nonces.check(opened);
  const seconds = core.policy.freshnessWindowSeconds;
  checkFreshness(opened, registryTime(core), { pastSeconds: seconds, futureSeconds: seconds });
}

function checkRegistry(core: RegistryCore, message: object): void {
  if (!("appId" in message) || typeof message.appId !== "string") return;
  checkAppRegistry(core, message.appId);
}

/**
 * The registry that an AppID names must be the one that acts.
 *
 * @throws Refusal REGISTRY_MISMATCH
 */
export function checkAppRegistry(core: Pick<RegistryCore, "domain">, appId: string): void {
  if (parseAppId(appId)?.registryDomain === core.domain) return;
  throw new Refusal(Reason.REGISTRY_MISMATCH, "the app belongs to another registry", {
    metadata: { expected: core.domain },
  });
}
