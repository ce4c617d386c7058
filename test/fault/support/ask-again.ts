import { type DescMethodUnary, type Message, toBinary } from "@bufbuild/protobuf";
import { createClient, type Transport } from "@connectrpc/connect";
import {
  ServiceKeyRotatedSchema,
  ServiceProvisionedSchema,
  type TerminationReceipt,
} from "../../../gen/omi/agent/v1/agent_pb.ts";
import { AgentService, TenancyService } from "../../../gen/omi/agent/v1/agent_service_pb.ts";
import { AuthProvisionedSchema } from "../../../gen/omi/auth/v1/auth_pb.ts";
import { AuthProviderService } from "../../../gen/omi/auth/v1/auth_service_pb.ts";
import {
  AppManifestSchema,
  AuthAnnouncementSchema,
  BackboneUpdateSchema,
} from "../../../gen/omi/registry/v1/app_pb.ts";
import { NamespaceClaimSchema } from "../../../gen/omi/registry/v1/namespace_pb.ts";
import { RegistryService } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import {
  RotationSchema,
  ServiceBindingSchema,
  SuspendSchema,
  UnbindSchema,
} from "../../../gen/omi/registry/v1/service_pb.ts";
import { type Statement, StatementSchema } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { equalBytes, toHex } from "../../../src/core/bytes.ts";
import { AUTH_SERVICE_ID } from "../../../src/core/names.ts";
import { systemRandom } from "../../../src/core/random.ts";
import { isRefusal, Reason, reasonName } from "../../../src/core/refusal.ts";
import type { Connections } from "../../../src/directory/connections.ts";
import { openAnswer, statementId } from "../../../src/statement/statement.ts";
import type { AnsweredCall, Calls } from "./calls.ts";
import { audienceOf, opened } from "./opened.ts";
import type { RegistryFacts } from "./registry-facts.ts";

/** How many questions are asked at the same time. */
const AT_ONCE = 8;

/** How many Statements are looked at whose nonces no party has forgotten yet. */
const RECENT = 50;

const NONCE_LENGTH = 16;

/** Signs what a Statement says once more, by the same key, now and with this nonce. */
export type SignAgain = (statement: Statement, nonce: Uint8Array) => Statement;

/** Which RPC of the registry accepts which Statement. */
const registryMethods: ReadonlyMap<string, DescMethodUnary> = new Map<string, DescMethodUnary>([
  [NamespaceClaimSchema.typeName, RegistryService.method.claimNamespace],
  [AppManifestSchema.typeName, RegistryService.method.registerApp],
  [BackboneUpdateSchema.typeName, RegistryService.method.updateBackbone],
  [AuthAnnouncementSchema.typeName, RegistryService.method.announceAuth],
  [ServiceBindingSchema.typeName, RegistryService.method.bindService],
  [RotationSchema.typeName, RegistryService.method.rotateKey],
  [SuspendSchema.typeName, RegistryService.method.suspendService],
  [UnbindSchema.typeName, RegistryService.method.unbindService],
]);

/** Sends the registry everything that it ever accepted once more. Returns what wasn't answered as something known. */
export async function askRegistryAgain(log: RegistryFacts["log"], transport: Transport): Promise<string[]> {
  const questions = log.flatMap(({ index, statement }) => {
    const method = registryMethods.get(statement.type);
    return method === undefined ? [] : [{ name: `log entry ${index}, ${method.name}`, method, statement }];
  });
  return inParts(questions, async ({ name, method, statement }) => {
    try {
      const { answer } = (await send(transport, method, statement)) as Message & { answer?: Statement };
      const isReply = answer !== undefined && equalBytes(inReplyTo(answer), statementId(statement));
      return isReply ? undefined : `${name}: the answer is to something else`;
    } catch (error) {
      return `${name}: ${describe(error)}`;
    }
  });
}

/**
 * Sends providers every order that they have answered once more. Returns what had another outcome. Tenants that were
 * terminated since are not provisioned again. An order to terminate what had ended already was answered with the receipt and
 * left nothing behind, so it is known only for as long as it is fresh.
 */
export async function askProvidersAgain(calls: Calls, connections: Connections): Promise<string[]> {
  const terminated = new Set(calls.to(TenancyService).filter(isTermination).map(tenantOf));
  const orders = [AuthProviderService, AgentService, TenancyService].flatMap((service) => calls.to(service));
  return inParts(orders, async (order) => {
    const name = `${order.method.name} of ${tenantOf(order)}`;
    try {
      const transport = await connections.transportFor(audienceOf(order.statement), Reason.DEADLINE_EXCEEDED);
      const response = await send(transport, order.method, order.statement);
      return outcomeOf(response) === outcomeOf(order.response) ? undefined : `${name}: another outcome`;
    } catch (error) {
      const isGone = isRefusal(error, Reason.TENANT_TERMINATED) || isRefusal(error, Reason.PROVIDER_REFUSED);
      if (isGone && terminated.has(tenantOf(order))) return undefined;
      if (isRefusal(error, Reason.TIMESTAMP_TOO_OLD) && cameAfterTheEnd(order)) return undefined;
      return `${name}: ${describe(error)}`;
    }
  });
}

/** Has terminated tenants terminated by new orders. Returns which got another receipt than before. */
export async function terminateAgain(calls: Calls, connections: Connections, sign: SignAgain): Promise<string[]> {
  return inParts(calls.to(TenancyService).filter(isTermination), async (order) => {
    const transport = await connections.transportFor(audienceOf(order.statement), Reason.DEADLINE_EXCEEDED);
    const statement = sign(order.statement, systemRandom(NONCE_LENGTH));
    const again = await createClient(TenancyService, transport).terminateService({ statement });
    return outcomeOf(again) === outcomeOf(order.response) ? undefined : `${tenantOf(order)}: another receipt`;
  });
}

/**
 * Sends each party other Statements with nonces that were spent not long ago. Returns what was not refused for that.
 *
 * @param spent IDs of the Statements that spent their nonces
 */
export async function reuseNonces(
  calls: Calls,
  connections: Connections,
  spent: ReadonlySet<string>,
  sign: SignAgain,
): Promise<string[]> {
  const candidates = calls.answered.filter(({ statement }) => spent.has(toHex(statementId(statement)))).slice(-RECENT);
  return inParts(candidates, async ({ method, statement }) => {
    const name = `${method.name} with a nonce that was spent`;
    const transport = await connections.transportFor(audienceOf(statement), Reason.DEADLINE_EXCEEDED);
    const { header } = opened(statement);
    const nonce = "nonce" in header ? header.nonce : new Uint8Array();
    try {
      await send(transport, method, sign(statement, nonce));
      return `${name}: accepted`;
    } catch (error) {
      return isRefusal(error, Reason.NONCE_REUSED) ? undefined : `${name}: ${describe(error)}`;
    }
  });
}

function isTermination({ method }: AnsweredCall): boolean {
  return method.name === TenancyService.method.terminateService.name;
}

/** True of an order that was answered with the receipt for another one, which had ended the tenant before. */
function cameAfterTheEnd({ statement, response }: AnsweredCall): boolean {
  const { receipt } = response as Message & { receipt?: Statement };
  if (receipt === undefined) return false;
  const { requestDigest } = opened(receipt).message as TerminationReceipt;
  return !equalBytes(requestDigest, statementId(statement));
}

/** What may not change about an answer: a receipt as a whole; of other answers what they say, but not when. */
function outcomeOf(response: Message): string {
  const { receipt, answer } = response as Message & { receipt?: Statement; answer?: Statement };
  if (receipt !== undefined) return toHex(toBinary(StatementSchema, receipt));
  switch (answer?.type) {
    case AuthProvisionedSchema.typeName: {
      const { authPublicKey, servicePublicKey, authProviderUrl } = openAnswer(AuthProvisionedSchema, answer).message;
      return [toHex(authPublicKey), toHex(servicePublicKey), authProviderUrl].join();
    }
    case ServiceProvisionedSchema.typeName: {
      const { serviceId, publicKey, endpointUrl } = openAnswer(ServiceProvisionedSchema, answer).message;
      return [serviceId, toHex(publicKey), endpointUrl].join();
    }
    case ServiceKeyRotatedSchema.typeName: {
      const rotated = openAnswer(ServiceKeyRotatedSchema, answer).message;
      return [toHex(rotated.publicKey), toHex(rotated.previousPublicKey), rotated.gracePeriodExpiry].join();
    }
    default:
      throw new Error(`an answer of an unexpected kind: ${answer?.type}`);
  }
}

/** `app_id/service_id` of the tenant that an order is about, which the provider may have named. */
function tenantOf({ statement, response }: AnsweredCall): string {
  const order = opened(statement).message as Message & { appId?: string; serviceId?: string };
  const { answer } = response as Message & { answer?: Statement };
  const named =
    answer?.type === ServiceProvisionedSchema.typeName ? openAnswer(ServiceProvisionedSchema, answer) : undefined;
  return `${order.appId}/${named?.message.serviceId ?? order.serviceId ?? AUTH_SERVICE_ID}`;
}

function inReplyTo(answer: Statement): Uint8Array {
  const { header } = opened(answer);
  return "inReplyTo" in header ? header.inReplyTo : new Uint8Array();
}

async function send(transport: Transport, method: DescMethodUnary, statement: Statement): Promise<Message> {
  const response = await transport.unary(method, undefined, undefined, undefined, { statement });
  return response.message as Message;
}

function describe(error: unknown): string {
  return isRefusal(error) ? `${reasonName(error.reason)} ${JSON.stringify(error.metadata)}` : String(error);
}

/** Does a check on all items, some at the same time. Returns the problems that were found. */
async function inParts<T>(items: readonly T[], check: (item: T) => Promise<string | undefined>): Promise<string[]> {
  const problems: string[] = [];
  const waiting = [...items];
  const workers = Array.from({ length: AT_ONCE }, async () => {
    for (let item = waiting.pop(); item !== undefined; item = waiting.pop()) {
      const problem = await check(item);
      if (problem !== undefined) problems.push(problem);
    }
  });
  await Promise.all(workers);
  return problems;
}
