import { type DescMessage, type DescMethodUnary, getOption } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Event, EventSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import { carries } from "../../../gen/omi/options/v1/options_pb.ts";
import type { LogEntry } from "../../../gen/omi/registry/v1/log_pb.ts";
import type { Statement } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { Reason, reasonName } from "../../../src/core/refusal.ts";
import type { RegistryOptions } from "../../../src/registry/service.ts";
import { headerKindOf } from "../../../src/statement/header.ts";
import { nestedMaxAgeOf } from "../../../src/statement/signable.ts";
import {
  type OpenedAnswer,
  openAnswer,
  signData,
  statementId,
  verifySignature,
} from "../../../src/statement/statement.ts";
import { documentedReasons } from "../../architecture/proto-text.ts";
import { contract } from "../../statement/contract.ts";
import { present } from "../../support/developer.ts";
import { registryDomain } from "../../support/registry.ts";
import { type FileRegistry, runFileRegistry, startFileRegistry } from "./file-registry.ts";
import { resolvedApp } from "./records.ts";
import { refused } from "./refused.ts";
import {
  type Draft,
  type FaultName,
  faults,
  faultsOfRequests,
  nestedPaths,
  requestHeader,
  type Tamper,
  tampered,
  withHeader,
  without,
} from "./tampering.ts";

/** What a test of a signed RPC plays in. */
export interface World {
  registry: FileRegistry;
}

/** What an accepted statement leads to. */
export interface Outcome {
  /** What the answer's message says. */
  answer: object;
  /** What the event says; left out where no app is concerned. */
  event?: Partial<Event>;
}

/** A statement that must be refused. */
export interface RefusedCase<W extends World> {
  /** What is wrong, to be read after "refuses". */
  name: string;
  reason: Reason;
  /** The `field` of the refusal's metadata. */
  field?: string;
  /** Brings the registry into the state in which it is wrong; what it returns is added to the world. */
  arrange?(world: W): Promise<Partial<W> | undefined>;
  draft(world: W): Draft;
  /** Options of the registry that differ. */
  options?: Partial<RegistryOptions>;
}

/** How a statement may be wrong that is nested in the one that an RPC takes. */
export interface NestedStatement {
  /** The Reasons that differ from the usual; `accepted` where the fault is none here. */
  faults?: Partial<Record<FaultName, Reason | "accepted">>;
  /** True if the outer statement may come without it. */
  optional?: boolean;
}

/** What there is to know about an RPC that takes a statement, to test everything that all of them have in common. */
export interface SignedRpc<W extends World> {
  /** One of `RegistryService`. */
  method: DescMethodUnary;
  /** The effect that stands in the log. */
  effect: DescMessage;
  /** True if the log shows no body. */
  private: boolean;
  options?: Partial<RegistryOptions>;
  /** Brings a registry into the state in which {@link draft} is accepted; every time with another app or namespace. */
  prepare(registry: FileRegistry): Promise<W>;
  /** A statement that is accepted, signed now, with a nonce of its own; otherwise always the same. */
  draft(world: W): Draft;
  outcome(world: W, draft: Draft): Outcome;
  /** The statements nested in it, by path. */
  nested?: Record<string, NestedStatement>;
  /** What is refused beyond what all RPCs refuse. */
  refusals: readonly RefusedCase<W>[];
}

/** Sends a statement to an RPC of `RegistryService`. */
export async function send(registry: FileRegistry, method: DescMethodUnary, draft: Draft): Promise<Statement> {
  const client = registry.registry as unknown as Record<string, (request: object) => Promise<{ answer?: Statement }>>;
  const { answer } = await present(client[method.localName])({ statement: draft.statement, ...draft.beside });
  return present(answer);
}

/** Reasons that no statement brings about: the tests of the server and of the write queue have them. */
const ofTheServer = [Reason.RATE_LIMITED, Reason.OVERLOADED, Reason.SHUTTING_DOWN, Reason.DEADLINE_EXCEEDED];

/** Tests all that one RPC that takes a statement must do and refuse. */
export function describeSignedRpc<W extends World>(rpc: SignedRpc<W>): void {
  const { method } = rpc;
  const request = carriedBy(method.input, "statement");
  const answerSchema = carriedBy(method.output, "answer");
  const prepared = async (options?: Partial<RegistryOptions>) =>
    rpc.prepare(await startFileRegistry({ ...rpc.options, ...options }));
  const opened = async (world: W, answer: Statement): Promise<OpenedAnswer> => {
    const opened = openAnswer(answerSchema, answer);
    await verifySignature(opened, world.registry.key.publicKey);
    return opened;
  };
  /** Sends what must be refused, and change nothing. */
  const refuses = async (world: W, draft: Draft, reason: Reason) => {
    const before = world.registry.contents();
    const refusal = await refused(send(world.registry, method, draft), reason);
    expect(world.registry.contents()).toEqual(before);
    return refusal;
  };
  const cases = [...rpc.refusals, ...generalCases(rpc)];

  describe(method.name, () => {
    // What is refused changes nothing, so these cases share a registry, each with a world of its own in it.
    let shared: FileRegistry;
    beforeAll(async () => {
      shared = await runFileRegistry(rpc.options);
    });
    afterAll(() => shared.stop());

    test("answers, and keeps and tells what was decided", async () => {
      const world = await prepared();
      const { registry } = world;
      const before = registry.contents();
      const draft = rpc.draft(world);
      const { header, message } = await opened(world, await send(registry, method, draft));
      const outcome = rpc.outcome(world, draft);
      const now = BigInt(registry.clock.seconds());
      expect(message).toMatchObject(outcome.answer);
      const id = statementId(draft.statement);
      const event = await eventOf(registry, outcome);
      expect(header).toMatchObject({ inReplyTo: id, issuedAt: now, query: new Uint8Array() });
      expect(header.appSequence).toBe(event?.sequence ?? 0n);
      expect(header.expiresAt).toBeGreaterThan(now);
      expect(header.expiresAt).toBeLessThanOrEqual(now + 60n);

      expect(registry.contents()).toMatchObject({ logSize: before.logSize + 1, nonces: before.nonces + 1 });
      const entry = await lastEntry(registry);
      expect(entry).toMatchObject({ index: BigInt(before.logSize + 1), time: now, statementId: id });
      expect(entry.effectType).toBe(rpc.effect.typeName);
      expect(entry.statement).toEqual(rpc.private ? undefined : draft.statement);

      if (event === undefined) return;
      expect(event).toMatchObject({ origin: registryDomain, logIndex: entry.index, ...outcome.event });
      expect(event.header).toMatchObject({ issuedAt: now, expiresAt: 0n, appSequence: event.sequence });
      const app = await resolvedApp(registry, event.appId);
      expect(event.configEpoch).toBe(app.context?.configEpoch);
    });

    test.each(["at once", "hours later", "after a restart"])("gives the same outcome again %s", async (when) => {
      const world = await prepared();
      const draft = rpc.draft(world);
      const first = await send(world.registry, method, draft);
      const before = world.registry.contents();
      if (when === "hours later") world.registry.clock.advance(5 * 3600);
      if (when === "after a restart") world.registry = await world.registry.restarted();
      const again = await send(world.registry, method, draft);
      expect(world.registry.contents()).toEqual(before);
      if (when !== "hours later") expect(again).toEqual(first);
      expect((await opened(world, again)).header.inReplyTo).toEqual(statementId(draft.statement));
    });

    test("takes the same bytes once, when they come many times together", async () => {
      const world = await prepared();
      const { logSize, nonces } = world.registry.contents();
      const draft = rpc.draft(world);
      const answers = await Promise.all(Array.from({ length: 8 }, () => send(world.registry, method, draft)));
      for (const answer of answers) expect(answer).toEqual(answers[0]);
      expect(world.registry.contents()).toMatchObject({ logSize: logSize + 1, nonces: nonces + 1 });
    });

    test.each([-300, 300])("takes a clock that is %d s off", async (seconds) => {
      const world = await prepared();
      await send(world.registry, method, moved(rpc.draft(world), seconds));
    });

    test.each([
      ["is fresh", 1],
      ["is too old itself", -301],
    ])("refuses a nonce in a second statement that %s", async (_, seconds) => {
      const world = await prepared();
      const first = rpc.draft(world);
      await send(world.registry, method, first);
      const { nonce } = requestHeader(first.statement);
      const second = tampered(rpc.draft(world), "", (statement, key) => withHeader(statement, key, { nonce }));
      expect((await refuses(world, moved(second, seconds), Reason.NONCE_REUSED)).metadata).toEqual({
        field: "header.nonce",
      });
    });

    test("spends no nonce on a signature that does not verify", async () => {
      const world = await prepared();
      const draft = rpc.draft(world);
      await refuses(world, tampered(draft, "", faults["a wrong signature"][1]), Reason.SIGNATURE_INVALID);
      await send(world.registry, method, draft);
    });

    test("refuses a body that is no request", async () => {
      const world = await prepared();
      const response = await fetch(`${world.registry.url}/${method.parent.typeName}/${method.name}`, {
        method: "POST",
        headers: { "content-type": "application/proto", "connect-protocol-version": "1" },
        body: Uint8Array.of(0x0a, 0x05, 0x01),
      });
      expect(response.status).toBe(400);
      const { details } = (await response.json()) as { details: { debug: { reason: string } }[] };
      expect(details[0]?.debug.reason).toBe("REASON_MALFORMED");
    });

    test.each([
      ["nothing is kept of what was not committed", "before", 0],
      ["a commit that nobody was told of is found again", "after", 1],
    ])("a crash: %s", async (_, side, kept) => {
      let failing = false;
      const failpoint = (name: string) => {
        if (failing && name === `${jobName(method)}.${side}-commit`) throw new Error("crash");
      };
      const world = await prepared({ failpoint });
      const { logSize, nonces } = world.registry.contents();
      const draft = rpc.draft(world);
      failing = true;
      await refused(send(world.registry, method, draft), Reason.INTERNAL);
      expect(world.registry.contents()).toMatchObject({ logSize: logSize + kept, nonces: nonces + kept });
      failing = false;
      const { message } = await opened(world, await send(world.registry, method, draft));
      expect(message).toMatchObject(rpc.outcome(world, draft).answer);
      expect(world.registry.contents()).toMatchObject({ logSize: logSize + 1, nonces: nonces + 1 });
    });

    test.each(cases.map((refusedCase) => [refusedCase.name, reasonName(refusedCase.reason), refusedCase] as const))(
      "refuses %s: %s",
      async (_name, _reason, { arrange, draft, reason, field, options }) => {
        const world = options === undefined ? await rpc.prepare(shared) : await prepared(options);
        Object.assign(world, await arrange?.(world));
        const refusal = await refuses(world, draft(world), reason);
        if (field !== undefined) expect(refusal.metadata.field).toBe(field);
      },
    );

    const limited = nestedPaths(request).filter((path) => Number.isFinite(nestedMaxAgeOf(carriedAt(request, path))));
    test.each(limited)("takes a %s that has just not become too old", async (path) => {
      const world = await prepared();
      const maxAge = nestedMaxAgeOf(carriedAt(request, path));
      await send(world.registry, method, moved(rpc.draft(world), -maxAge, path));
    });

    test.each(acceptedFaults(rpc))("takes %s with %s, as what is nested there is an answer", async (path, fault) => {
      const world = await prepared();
      await send(world.registry, method, tampered(rpc.draft(world), path, faults[fault][1]));
    });

    test("the table above has each nested statement", () => {
      expect(Object.keys(rpc.nested ?? {}).sort()).toEqual(nestedPaths(request).sort());
    });

    test("the table above has each Reason that the contract documents, and no other", () => {
      const tested = [...cases.map(({ reason }) => reason), Reason.NONCE_REUSED, Reason.INTERNAL, ...ofTheServer];
      const names = (reasons: Iterable<Reason>) => [...new Set([...reasons].map(reasonName))].sort();
      expect(names(tested)).toEqual(names(documentedReasons(method)));
    });
  });
}

/** What is refused whatever the RPC: a statement that is wrong in itself, the outermost one or a nested one. */
function generalCases<W extends World>(rpc: SignedRpc<W>): RefusedCase<W>[] {
  const request = carriedBy(rpc.method.input, "statement");
  const outermost = Object.entries(faults).map(([name, [reason, tamper]]) => ({
    name,
    reason,
    draft: (world: W) => tampered(rpc.draft(world), "", tamper),
  }));
  const tooLarge: Tamper = ({ type }, key) => signData(type, new Uint8Array(65_537), key);
  return [
    ...outermost,
    {
      name: "a request without statement",
      reason: Reason.FIELD_INVALID,
      field: "statement",
      draft: (world) => ({ ...rpc.draft(world), beside: { statement: undefined } }),
    },
    {
      name: "data of more than 64 KiB",
      reason: Reason.TOO_LARGE,
      field: "statement",
      draft: (world) => tampered(rpc.draft(world), "", tooLarge),
    },
    {
      name: "a timestamp of 301 s ago",
      reason: Reason.TIMESTAMP_TOO_OLD,
      field: "header.timestamp",
      draft: (world) => moved(rpc.draft(world), -301),
    },
    {
      name: "a timestamp in 301 s",
      reason: Reason.TIMESTAMP_IN_FUTURE,
      field: "header.timestamp",
      draft: (world) => moved(rpc.draft(world), 301),
    },
    ...nestedPaths(request).flatMap((path) => nestedCases(rpc, path, carriedAt(request, path))),
  ];
}

/** What is refused of a nested statement. */
function nestedCases<W extends World>(rpc: SignedRpc<W>, path: string, schema: DescMessage): RefusedCase<W>[] {
  const { optional = false, faults: differing = {} } = rpc.nested?.[path] ?? {};
  const isRequest = headerKindOf(schema) === "request";
  const cases: RefusedCase<W>[] = Object.entries(faults).flatMap(([name, [usual, tamper]]) => {
    const reason = differing[name as FaultName] ?? usual;
    if (reason === "accepted" || (!isRequest && faultsOfRequests.has(name))) return [];
    return [{ name: `${name} in ${path}`, reason, draft: (world: W) => tampered(rpc.draft(world), path, tamper) }];
  });
  if (!optional) {
    cases.push({
      name: `a request without ${path}`,
      reason: Reason.FIELD_INVALID,
      field: path,
      draft: (world) => without(rpc.draft(world), path),
    });
  }
  if (!isRequest) return cases;
  const at = (reason: Reason, seconds: number): RefusedCase<W> => ({
    name: `a timestamp ${seconds} s off in ${path}`,
    reason,
    field: `${path}.header.timestamp`,
    draft: (world) => moved(rpc.draft(world), seconds, path),
  });
  cases.push(at(Reason.TIMESTAMP_IN_FUTURE, 301));
  const maxAge = nestedMaxAgeOf(schema);
  if (Number.isFinite(maxAge)) cases.push(at(Reason.TIMESTAMP_TOO_OLD, -maxAge - 1));
  return cases;
}

function acceptedFaults<W extends World>(rpc: SignedRpc<W>): [path: string, fault: FaultName][] {
  return Object.entries(rpc.nested ?? {}).flatMap(([path, nested]) =>
    Object.entries(nested.faults ?? {})
      .filter(([, reason]) => reason === "accepted")
      .map(([fault]): [string, FaultName] => [path, fault as FaultName]),
  );
}

/** The same draft, with another time in the header of the statement at a path. */
function moved(draft: Draft, seconds: number, path = ""): Draft {
  return tampered(draft, path, (statement, key) =>
    withHeader(statement, key, { timestamp: requestHeader(statement).timestamp + BigInt(seconds) }),
  );
}

/** The message type that a field of type Statement carries. */
function carriedBy(schema: DescMessage, name: string): DescMessage {
  const field = present(schema.fields.find((field) => field.name === name));
  return present(contract.getMessage(getOption(field, carries)));
}

function carriedAt(schema: DescMessage, path: string): DescMessage {
  return path.split(".").reduce(carriedBy, schema);
}

/** The name of an RPC's write at failpoints: `BindService` -> `bind-service`. */
function jobName(method: DescMethodUnary): string {
  return method.name.replace(/(?<=.)[A-Z]/g, "-$&").toLowerCase();
}

async function lastEntry(registry: FileRegistry): Promise<LogEntry> {
  const { logSize } = registry.contents();
  const { entries } = await registry.log.readLog({ startIndex: BigInt(logSize) });
  return present(entries[0]);
}

/** The app's last event, if the outcome has one; it follows the one before. */
async function eventOf(registry: FileRegistry, { event }: Outcome): Promise<Event | undefined> {
  if (event === undefined) return undefined;
  const { events } = await registry.events.listEvents({ appId: present(event.appId) });
  const opened = events.map((statement) => openAnswer(EventSchema, statement));
  await Promise.all(opened.map((event) => verifySignature(event, registry.key.publicKey)));
  expect(opened.map(({ message }) => message.sequence)).toEqual(opened.map((_, index) => BigInt(index + 1)));
  return opened.at(-1)?.message;
}
