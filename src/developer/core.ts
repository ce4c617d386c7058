import {
  create,
  type DescMessage,
  type DescService,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type { DirectoryEntry } from "../../gen/omi/directory/v1/directory_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { type Clock, unixSeconds } from "../core/clock.ts";
import type { Random } from "../core/random.ts";
import type { Connections } from "../directory/connections.ts";
import { providerKey } from "../directory/entry.ts";
import type { RegistryClient } from "../directory/registry-client.ts";
import { type Verified, verifyAnswer } from "../directory/verified.ts";
import { checkBounds } from "../statement/bounds.ts";
import type { SigningKey } from "../statement/crypto.ts";
import { type OpenedAnswer, signStatement, statementId } from "../statement/statement.ts";
import { callProvider } from "./reach.ts";
import { withRetries } from "./retry.ts";
import { type OnStep, stepOf } from "./step.ts";

/** What every flow of a developer works with. */
export type DeveloperCore = {
  readonly masterKey: SigningKey;
  readonly connections: Connections;
  readonly clock: Clock;
  readonly random: Random;
  readonly onStep: OnStep;
};

/** A message of a developer, without its header. */
export type Unsigned<Desc extends DescMessage> = Omit<MessageInitShape<Desc>, "header" | "$typeName" | "$unknown">;

/** Why the developer believes a registry's answers. */
const TRUST_REGISTRY = "a key of the registry, pinned";

const TRUST_DIRECTORY = "a Provider key in the directory";
const NONCE_LENGTH = 16;

/**
 * Signs a message with the Master key, if the party that is meant to act could accept it.
 *
 * @param audience the domain of the party that is meant to act
 * @param timestamp Unix seconds; now if left out
 * @throws Refusal FIELD_INVALID {field, rule}, KEY_INVALID {field} and what else {@link checkBounds} finds
 */
export function signAsMaster<Desc extends DescMessage>(
  core: DeveloperCore,
  schema: Desc,
  audience: string,
  message: Unsigned<Desc>,
  timestamp: number = unixSeconds(core.clock),
): Statement {
  const { keyId: signer } = core.masterKey;
  const header = { audience, timestamp: BigInt(timestamp), nonce: core.random(NONCE_LENGTH), signer };
  const whole = bounded(schema, { ...message, header } as unknown as MessageInitShape<Desc>);
  const statement = signStatement(schema, whole, core.masterKey);
  core.onStep(stepOf("signed", statement, core.masterKey.keyId, audience));
  return statement;
}

/**
 * Makes a message that keeps the bounds of the contract, so that what nobody would accept is not sent.
 *
 * @throws Refusal as {@link checkBounds}
 */
export function bounded<Desc extends DescMessage>(schema: Desc, init: MessageInitShape<Desc>): MessageShape<Desc> {
  const message = create(schema, init);
  // Whether a host may have plain http is for the receiver to say, who is the one to call it.
  checkBounds(schema, message, { allowPlainHttp: () => true });
  return message;
}

/** Makes a write at a registry, again with the same bytes if no answer comes. */
export async function writeAt<V extends Verified<unknown>>(
  core: DeveloperCore,
  registry: RegistryClient,
  statement: Statement,
  write: (statement: Statement) => Promise<V>,
): Promise<V> {
  const answer = await send(core, registry.domain, statement, write);
  sawAnswer(core, registry.domain, answer);
  return answer;
}

/** Makes a fresh read at a registry. */
export async function readFresh<V extends Verified<unknown>>(
  core: DeveloperCore,
  registry: RegistryClient,
  read: (options: { fresh: true }) => Promise<V>,
): Promise<V> {
  const answer = await withRetries(core.clock, () => read({ fresh: true }));
  sawAnswer(core, registry.domain, answer);
  return answer;
}

/** Sends an order to a provider, again with the same bytes if no answer comes. */
export async function orderAt<Service extends DescService, Response>(
  core: DeveloperCore,
  provider: string,
  service: Service,
  statement: Statement,
  call: (client: Client<Service>, statement: Statement) => Promise<Response>,
): Promise<Response> {
  return send(core, provider, statement, () =>
    callProvider(core.connections, provider, service, (client) => call(client, statement)),
  );
}

/**
 * Verifies a provider's answer to an order: it is to this very order, and signed by a Provider key that counts now.
 *
 * @throws Refusal ANSWER_INVALID {field, domain}
 */
export async function verifyProviderAnswer<Desc extends DescMessage>(
  core: DeveloperCore,
  entry: DirectoryEntry,
  schema: Desc,
  answer: Statement | undefined,
  order: Statement,
): Promise<OpenedAnswer<Desc>> {
  const now = unixSeconds(core.clock);
  const opened = await verifyAnswer(schema, answer, {
    domain: entry.domain,
    field: "answer",
    inReplyTo: statementId(order),
    now,
    signerKey: (keyId) => providerKey(entry, keyId, now),
  });
  core.onStep(stepOf("verified", opened.statement, opened.header.signer, entry.domain, TRUST_DIRECTORY));
  return opened;
}

async function send<T>(
  core: DeveloperCore,
  party: string,
  statement: Statement,
  call: (statement: Statement) => Promise<T>,
): Promise<T> {
  return withRetries(core.clock, (number) => {
    core.onStep(stepOf(number === 1 ? "sent" : "sent again", statement, core.masterKey.keyId, party));
    return call(statement);
  });
}

function sawAnswer(core: DeveloperCore, registry: string, { statement, header }: Verified<unknown>): void {
  core.onStep(stepOf("verified", statement, header.signer, registry, TRUST_REGISTRY));
}
