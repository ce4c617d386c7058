import { toBinary } from "@bufbuild/protobuf";
import type { JetStreamClient, JetStreamManager } from "nats";
import { expect } from "vitest";
import { type Event, EventSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import { OperationalRole } from "../../../gen/omi/registry/v1/app_pb.ts";
import { type Statement, StatementSchema } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { systemRandom } from "../../../src/core/random.ts";
import { createDeveloper, type Developer } from "../../../src/developer/developer.ts";
import { generateSigningKey } from "../../../src/developer/signing-key.ts";
import type { StreamSettings } from "../../../src/events/nats/settings.ts";
import { domainToken, eventSubject } from "../../../src/events/nats/subjects.ts";
import { rebuildRegistry } from "../../../src/operator/commands.ts";
import { meshDomains } from "../../../src/operator/mesh.ts";
import { openAnswer } from "../../../src/statement/statement.ts";
import { startNats, type TestNats } from "../../nats/support/nats-server.ts";
import { bareConnection, stream } from "../../nats/support/publishing.ts";
import { auditEvents } from "./audit-events.ts";
import { auditProvider } from "./audit-provider.ts";
import { auditRegistry } from "./audit-registry.ts";
import { Calls } from "./calls.ts";
import { accountedConnections } from "./connections.ts";
import { type FaultMesh, type PartName, providerNames, withFaultMesh } from "./fault-mesh.ts";
import { Gate } from "./gate.ts";
import { listenerNames, untilAllCurrent } from "./listeners.ts";
import { steadyPorts } from "./ports.ts";
import { readRegistry } from "./registry-facts.ts";
import { followServices } from "./service-history.ts";
import { TestUsers } from "./test-users.ts";
import { until } from "./wait.ts";
import { bearWitness } from "./witness.ts";

const { registry, auth, articles, journal, billing } = meshDomains;

const namespace = "alice";

/** The services of each app, with their providers. */
export const serviceIds = ["articles", "journal"] as const;

const providerOf = { articles, journal } as const;

/** A mesh of processes that runs, and a developer who makes apps in it. */
export class RunningFaultMesh {
  readonly mesh: FaultMesh;
  readonly developer: Developer;
  readonly users: TestUsers;
  readonly appIds: string[] = [];

  constructor(mesh: FaultMesh) {
    this.mesh = mesh;
    const connections = accountedConnections(mesh.mesh, new Calls(), "patient");
    const masterKey = generateSigningKey(systemRandom);
    this.developer = createDeveloper({ masterKey, connections, clock: systemClock, random: systemRandom });
    this.users = new TestUsers(connections);
  }

  /** Starts all parts, and has those that listen bear witness. */
  async start(): Promise<void> {
    await this.mesh.start();
    for (const name of listenerNames) bearWitness(this.mesh.databaseFile(name));
    await this.developer.claimNamespace({ registry, namespace });
  }

  /** Registers an app and does nothing more with it. Returns its AppID. */
  async registerApp(slug: string): Promise<string> {
    return (await this.developer.registerApp({ registry, namespace, slug, displayName: slug })).appId;
  }

  /**
   * Makes an app with an Auth Provider and two services, to which all parts listen, Billing because of an article.
   *
   * @returns its AppID, and what has one more article stored
   */
  async newApp(): Promise<{ appId: string; write: () => Promise<string> }> {
    const { developer, users } = this;
    const appId = await this.registerApp(`app-${this.appIds.length + 1}`);
    const services = [{ role: OperationalRole.BILLING, name: "bill", url: `http://${billing}` }];
    await developer.updateBackbone({ appId, services });
    await developer.provisionAuth({ appId, provider: auth });
    for (const serviceId of serviceIds) {
      await developer.provisionService({
        appId,
        provider: providerOf[serviceId],
        serviceType: "cms-article",
        serviceId,
      });
    }
    const user = (await users.signUp(appId)) ?? "";
    await users.writeArticle(appId, user, { serviceId: "articles", provider: articles });
    const write = await users.writer(appId, user, { serviceId: "articles", provider: articles });
    this.appIds.push(appId);
    await untilAllCurrent(this.mesh, [appId]);
    return { appId, write };
  }

  /** Has a service rotate its key, some times. */
  async rotate(appId: string, serviceId: (typeof serviceIds)[number], times = 1): Promise<void> {
    for (let round = 0; round < times; round++) await this.developer.rotate({ appId, serviceId, immediate: true });
  }

  /** An app's events by the registry's file, oldest first. */
  events(appId: string): { statement: Statement; event: Event; id: string }[] {
    const { log } = readRegistry(this.mesh.databaseFile("registry"));
    return log.flatMap(({ event }) => {
      if (event?.appId !== appId) return [];
      const { id, message } = openAnswer(EventSchema, event.statement);
      return [{ statement: event.statement, event: message, id: toHex(id) }];
    });
  }

  /** Waits until all parts say that they are up to date, stops them, and compares their files with the log. */
  async expectAgreement(): Promise<void> {
    const { mesh } = this;
    await untilAllCurrent(mesh, this.appIds);
    mesh.check();
    await mesh.stop();
    const facts = readRegistry(mesh.databaseFile("registry"));
    const { histories, problems } = followServices(facts);
    const truth = { facts, histories };
    problems.push(...auditRegistry(facts, histories), ...auditEvents(mesh, truth));
    for (const name of providerNames) {
      problems.push(...auditProvider(mesh.databaseFile(name), mesh.members[name].member.domain, truth));
    }
    expect(problems).toEqual([]);
    expect(rebuildRegistry(mesh.databaseFile("registry"), () => {})).toMatchObject({ equal: true });
  }
}

/** Such a mesh whose events travel over a nats-server, with a gate between it and each part. */
export class NatsFaultMesh extends RunningFaultMesh {
  readonly nats: TestNats;
  readonly gates: Readonly<Record<PartName, Gate>>;

  constructor(mesh: FaultMesh, nats: TestNats, gates: Readonly<Record<PartName, Gate>>) {
    super(mesh);
    this.nats = nats;
    this.gates = gates;
  }

  /** Asks the JetStream API of the server that runs now. */
  async jetstream<T>(ask: (manager: JetStreamManager, client: JetStreamClient) => Promise<T>): Promise<T> {
    const connection = await bareConnection(this.nats);
    try {
      return await ask(await connection.jetstreamManager(), connection.jetstream());
    } finally {
      await connection.close();
    }
  }

  /** How many messages the stream holds. */
  stored(): Promise<number> {
    return this.jetstream(async (manager) => (await manager.streams.info(stream)).state.messages);
  }

  /** Waits until the stream holds this many messages. */
  async untilStored(count: number): Promise<void> {
    await until(`${count} messages in the stream`, async () => (await this.stored()) >= count);
  }

  /** Waits until the consumer of a part has delivered all messages that are in the stream now. */
  async untilDelivered(name: PartName): Promise<void> {
    const { last_seq } = await this.jetstream(async (manager) => (await manager.streams.info(stream)).state);
    await until(`${name} to be given message ${last_seq}`, async () => {
      const { delivered } = await this.#consumer(name);
      return delivered.stream_seq >= last_seq;
    });
  }

  /** Waits until a part has acknowledged all that its consumer delivered, some of it perhaps once more. */
  async untilAcknowledged(name: PartName): Promise<void> {
    await until(`${name} to have acknowledged all`, async () => {
      const { num_ack_pending, num_pending } = await this.#consumer(name);
      return num_ack_pending === 0 && num_pending === 0;
    });
  }

  /** Has the server deliver to all parts only what matches a subject, while they stay connected. */
  async filterConsumers(subject: string): Promise<void> {
    await this.jetstream(async (manager) => {
      for (const name of listenerNames) {
        await manager.consumers.update(stream, this.#consumerName(name), { filter_subject: subject });
      }
    });
  }

  #consumer(name: PartName) {
    return this.jetstream((manager) => manager.consumers.info(stream, this.#consumerName(name)));
  }

  #consumerName(name: PartName): string {
    return domainToken(this.mesh.members[name].member.domain);
  }

  /** Publishes signed events beside the registry, as one who is allowed to, in this order. */
  async publish(messages: readonly { statement: Statement; event: Event; messageId: string }[]): Promise<void> {
    await this.jetstream(async (_, client) => {
      for (const { statement, event, messageId } of messages) {
        await client.publish(eventSubject(event), toBinary(StatementSchema, statement), { msgID: messageId });
      }
    });
  }
}

/** Runs a test with such a mesh, which has been started. */
export async function withNatsMesh(
  test: (mesh: NatsFaultMesh) => Promise<void>,
  streamSettings: Pick<Partial<StreamSettings>, "maxAgeSeconds" | "duplicateWindowSeconds"> = {},
): Promise<void> {
  await withFaultMesh(
    async (mesh) => {
      const names = Object.keys(mesh.members) as PartName[];
      const [natsPort = 0, ...gatePorts] = await steadyPorts(1 + names.length);
      const nats = await startNats({ port: natsPort });
      const gates = {} as Record<PartName, Gate>;
      for (const [index, name] of names.entries()) {
        const gate = await Gate.to(natsPort, gatePorts[index] ?? 0);
        gates[name] = gate;
        mesh.configure(name, (config) => {
          const maxBytes = 64 * 1024 * 1024;
          config.events = { nats: { servers: [gate.address], stream: { maxBytes, ...streamSettings } } };
        });
      }
      const running = new NatsFaultMesh(mesh, nats, gates);
      await running.start();
      await test(running);
    },
    // Heads every two seconds: what is lost is found soon, and most events still come before them.
    { viewMaxAgeSeconds: 4 },
  );
}
