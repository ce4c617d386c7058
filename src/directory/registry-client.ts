import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import type { Heads } from "../../gen/omi/event/v1/event_pb.ts";
import { type App, AppAnswerSchema, type OperationalContext } from "../../gen/omi/registry/v1/app_pb.ts";
import { type Namespace, NamespaceAnswerSchema } from "../../gen/omi/registry/v1/namespace_pb.ts";
import { type RegistryAnswer, RegistryAnswerSchema } from "../../gen/omi/registry/v1/registry_pb.ts";
import { RegistryService } from "../../gen/omi/registry/v1/registry_service_pb.ts";
import {
  ListServicesRequestSchema,
  ResolveAppRequestSchema,
  ResolveNamespaceRequestSchema,
  ResolveRegistryRequestSchema,
  ResolverService,
  ResolveServiceRequestSchema,
} from "../../gen/omi/registry/v1/resolver_service_pb.ts";
import {
  BindingAnswerSchema,
  type Service,
  ServiceAnswerSchema,
  ServiceListAnswerSchema,
} from "../../gen/omi/registry/v1/service_pb.ts";
import type { AnswerHeader, Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { LruCache } from "../core/lru-cache.ts";
import type { Random } from "../core/random.ts";
import { isRefusal, Reason, Refusal } from "../core/refusal.ts";
import { type OpenedAnswer, statementId } from "../statement/statement.ts";
import { answerInvalid } from "./answer-invalid.ts";
import { RegistryConnection, type RegistryConnectionOptions } from "./registry-connection.ts";
import {
  type EventList,
  type LogPage,
  type LogRange,
  RegistryEvents,
  type VerifiedEvent,
  type WatchItem,
  type WatchOptions,
} from "./registry-events.ts";
import { queryOf, type Verified } from "./verified.ts";

/** What a {@link RegistryClient} needs. */
export type RegistryClientOptions = RegistryConnectionOptions & {
  /** Makes the nonces of fresh reads. */
  readonly random: Random;
};

/** How a read is made. */
export type ReadOptions = {
  /**
   * True: the registry makes and signs the answer for this call, as decisions that grant something need it. False, the
   * default: a cache may answer, with what was true up to 60 s ago.
   */
  readonly fresh?: boolean;
};

/** A contact's address and the salt of the claim's `contact_commitment`. */
export type Contact = { readonly email: string; readonly salt: Uint8Array };

/** A service as it was bound, and what it needs to know of its app. */
export type Binding = { readonly service: Service; readonly context: OperationalContext };

/** All services of an app, tombstones included. */
export type ServiceList = {
  readonly value: readonly Service[];
  /** The header of the last page; its `app_sequence` is that of all pages. */
  readonly header: AnswerHeader;
  /** The signed pages as received. */
  readonly statements: readonly Statement[];
};

/**
 * One registry, as a client sees it. Every answer is verified: its signature by a key that is trusted for this registry, and
 * that it answers this very question or request, in time. Each method can throw
 *
 * - `RemoteRefusal`: what the registry refused, with its own Reason;
 * - `Refusal` REGISTRY_UNAVAILABLE {registry}: it can't be found or reached, or takes too long; a write may or may not have
 *   happened, and repeating it with the same bytes tells;
 * - `Refusal` ANSWER_INVALID {field, domain}: what came back does not verify;
 * - `Refusal` REGISTRY_ROLLED_BACK {registry}: an app's sequence is below what this client has seen before.
 */
export class RegistryClient {
  /** The registry's domain: the audience of what is sent to it. */
  readonly domain: string;
  readonly #connection: RegistryConnection;
  readonly #events: RegistryEvents;
  readonly #random: Random;
  readonly #sequences = new LruCache<string, bigint>(MAX_SEQUENCES);

  constructor(options: RegistryClientOptions) {
    this.domain = options.domain;
    this.#random = options.random;
    this.#connection = new RegistryConnection(options);
    this.#events = new RegistryEvents(this.#connection, options.random);
  }

  /** Reads the registry's description of itself. */
  async resolveRegistry(options: ReadOptions = {}): Promise<Verified<RegistryAnswer>> {
    const request = create(ResolveRegistryRequestSchema, { nonce: this.#nonce(options) });
    const { opened } = await this.#read(ResolveRegistryRequestSchema, request, RegistryAnswerSchema, (client) =>
      client.resolveRegistry(request),
    );
    this.#expect(opened.message.domain === this.domain, "answer.domain");
    return verified(opened, opened.message);
  }

  /** Reads a namespace. */
  async resolveNamespace(namespace: string, options: ReadOptions = {}): Promise<Verified<Namespace>> {
    const request = create(ResolveNamespaceRequestSchema, { namespace, nonce: this.#nonce(options) });
    const { opened } = await this.#read(ResolveNamespaceRequestSchema, request, NamespaceAnswerSchema, (client) =>
      client.resolveNamespace(request),
    );
    return this.#namespaceOf(opened, namespace);
  }

  /** Reads an app, its Master key and its Operational Context. */
  async resolveApp(appId: string, options: ReadOptions = {}): Promise<Verified<App>> {
    const request = create(ResolveAppRequestSchema, { appId, nonce: this.#nonce(options) });
    const { opened } = await this.#read(
      ResolveAppRequestSchema,
      request,
      AppAnswerSchema,
      (client) => client.resolveApp(request),
      appId,
    );
    return this.#appOf(opened, appId);
  }

  /** Reads one service of an app; with it the app's config epoch, which is unsigned and a hint only. */
  async resolveService(
    appId: string,
    serviceId: string,
    options: ReadOptions = {},
  ): Promise<Verified<Service> & { readonly configEpochHint: bigint }> {
    const request = create(ResolveServiceRequestSchema, { appId, serviceId, nonce: this.#nonce(options) });
    const { opened, response } = await this.#read(
      ResolveServiceRequestSchema,
      request,
      ServiceAnswerSchema,
      (client) => client.resolveService(request),
      appId,
    );
    return { ...this.#serviceOf(opened, appId, serviceId), configEpochHint: response.configEpoch };
  }

  /**
   * Reads all services of an app, tombstones included, as they were at one moment: if the app changes between two pages,
   * it begins again.
   *
   * @throws Refusal LIST_CHANGED if it changed again each time
   */
  async listServices(appId: string, options: ReadOptions = {}): Promise<ServiceList> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#listOnce(appId, options);
      } catch (error) {
        if (!isRefusal(error, Reason.LIST_CHANGED) || attempt === MAX_LIST_ATTEMPTS) throw error;
      }
    }
  }

  /** Claims a namespace: a NamespaceClaim statement and, if it commits to one, the contact. */
  async claimNamespace(statement: Statement, contact?: Contact): Promise<Verified<Namespace>> {
    const { opened } = await this.#write(statement, NamespaceAnswerSchema, (client) =>
      client.claimNamespace({ statement, contactEmail: contact?.email ?? "", contactSalt: contact?.salt ?? NOTHING }),
    );
    return this.#namespaceOf(opened);
  }

  /** Gives the code that was sent to the contact, and reads the namespace that is active then. */
  async activateNamespace(namespace: string, code: string): Promise<Verified<Namespace>> {
    await this.#connection.call((transport) =>
      createClient(RegistryService, transport).activateNamespace({ namespace, code }),
    );
    // The answer is in reply to the claim, which is not at hand here, so the outcome is read.
    return this.resolveNamespace(namespace, { fresh: true });
  }

  /** Has the contact of a pending namespace sent another code: an ActivationCodeRequest statement. */
  async resendActivationCode(statement: Statement): Promise<Verified<Namespace>> {
    const { opened } = await this.#write(statement, NamespaceAnswerSchema, (client) =>
      client.resendActivationCode({ statement }),
    );
    return this.#namespaceOf(opened);
  }

  /** Registers an app: an AppManifest statement. */
  async registerApp(statement: Statement): Promise<Verified<App>> {
    const { opened } = await this.#write(statement, AppAnswerSchema, (client) => client.registerApp({ statement }));
    return this.#appOf(opened);
  }

  /** Replaces an app's backbone: a BackboneUpdate statement. */
  async updateBackbone(statement: Statement): Promise<Verified<App>> {
    const { opened } = await this.#write(statement, AppAnswerSchema, (client) => client.updateBackbone({ statement }));
    return this.#appOf(opened);
  }

  /** Announces an app's Auth Provider: an AuthAnnouncement statement. */
  async announceAuth(statement: Statement): Promise<Verified<App>> {
    const { opened } = await this.#write(statement, AppAnswerSchema, (client) => client.announceAuth({ statement }));
    return this.#appOf(opened);
  }

  /** Binds a service: a ServiceBinding statement. */
  async bindService(statement: Statement): Promise<Verified<Binding>> {
    const { opened } = await this.#write(statement, BindingAnswerSchema, (client) => client.bindService({ statement }));
    const { service, context } = opened.message;
    if (service === undefined || context === undefined) throw this.#mismatch("answer.service");
    this.#sawSequence(service.appId, opened);
    return verified(opened, { service, context });
  }

  /** Replaces a service's key: a Rotation statement. */
  async rotateKey(statement: Statement): Promise<Verified<Service> & { readonly configEpochHint: bigint }> {
    const { opened, response } = await this.#write(statement, ServiceAnswerSchema, (client) =>
      client.rotateKey({ statement }),
    );
    return { ...this.#serviceOf(opened), configEpochHint: response.configEpoch };
  }

  /** Stops all keys of a service: a Suspend statement. */
  async suspendService(statement: Statement): Promise<Verified<Service>> {
    const { opened } = await this.#write(statement, ServiceAnswerSchema, (client) =>
      client.suspendService({ statement }),
    );
    return this.#serviceOf(opened);
  }

  /** Ends a service's binding for ever: an Unbind statement. */
  async unbindService(statement: Statement): Promise<Verified<Service>> {
    const { opened } = await this.#write(statement, ServiceAnswerSchema, (client) =>
      client.unbindService({ statement }),
    );
    return this.#serviceOf(opened);
  }

  /** The registry's own key with this ID, if it is trusted and counts at `at` (Unix seconds). */
  keyAt(keyId: string, at: number): Promise<Uint8Array | undefined> {
    return this.#connection.keyAt(keyId, at);
  }

  /** Reads a page of the log and checks its chain; see {@link RegistryEvents.readLog}. */
  readLog(range: LogRange = {}): Promise<LogPage> {
    return this.#events.readLog(range);
  }

  /** Lists the events of an app after a sequence; see {@link RegistryEvents.listEvents}. */
  listEvents(appId: string, afterSequence: bigint, pageSize?: number): Promise<EventList> {
    return this.#events.listEvents(appId, afterSequence, pageSize);
  }

  /** Reads the heads of the log and of some apps, fresh; see {@link RegistryEvents.getHeads}. */
  getHeads(appIds: readonly string[] = [], knownLogIndex = 0n): Promise<Verified<Heads>> {
    return this.#events.getHeads(appIds, knownLogIndex);
  }

  /** Verifies an event that came another way; see {@link RegistryEvents.verifyEvent}. */
  verifyEvent(statement: Statement): Promise<VerifiedEvent> {
    return this.#events.verifyEvent(statement);
  }

  /** Verifies heads that came another way; see {@link RegistryEvents.verifyHeads}. */
  verifyHeads(statement: Statement): Promise<Verified<Heads>> {
    return this.#events.verifyHeads(statement);
  }

  /** The greatest sequence of an app in any answer, to reads and to writes, that this client has verified; 0 if none was. */
  sequenceSeen(appId: string): bigint {
    return this.#sequences.get(appId) ?? 0n;
  }

  /** Listens to events; see {@link RegistryEvents.watch}. */
  watch(options: WatchOptions): AsyncIterable<WatchItem> {
    return this.#events.watch(options);
  }

  async #listOnce(appId: string, options: ReadOptions): Promise<ServiceList> {
    const services: Service[] = [];
    const statements: Statement[] = [];
    let sequence: bigint | undefined;
    let pageToken = "";
    for (let page = 0; page < MAX_LIST_PAGES; page++) {
      const nonce = this.#nonce(options);
      const request = create(ListServicesRequestSchema, { appId, pageSize: LIST_PAGE_SIZE, pageToken, nonce });
      const { opened } = await this.#read(
        ListServicesRequestSchema,
        request,
        ServiceListAnswerSchema,
        (client) => client.listServices(request),
        appId,
      );
      const { message, header } = opened;
      this.#expect(message.appId === appId, "answer.app_id");
      this.#expect(
        message.services.every((service) => service.appId === appId),
        "answer.services",
      );
      if (sequence !== undefined && header.appSequence !== sequence) {
        throw new Refusal(Reason.LIST_CHANGED, "the app changed between two pages");
      }
      sequence = header.appSequence;
      services.push(...message.services);
      statements.push(opened.statement);
      pageToken = message.nextPageToken;
      if (pageToken === "") return { value: services, header, statements };
    }
    throw this.#mismatch("answer.next_page_token");
  }

  #nonce({ fresh = false }: ReadOptions): Uint8Array {
    return fresh ? this.#random(NONCE_LENGTH) : NOTHING;
  }

  /** Makes a read and verifies its answer. With a nonce in the request, the answer must have been made for it. */
  async #read<
    RequestDesc extends DescMessage,
    AnswerDesc extends DescMessage,
    Response extends { readonly answer?: Statement | undefined },
  >(
    requestSchema: RequestDesc,
    request: MessageShape<RequestDesc> & { readonly nonce: Uint8Array },
    answerSchema: AnswerDesc,
    call: (client: Client<typeof ResolverService>) => Promise<Response>,
    appId?: string,
  ): Promise<{ opened: OpenedAnswer<AnswerDesc>; response: Response }> {
    const fresh = request.nonce.length > 0;
    const madeAfter = this.#connection.now();
    // Of before the call: two reads may be answered in one order and arrive in the other.
    const seen = fresh && appId !== undefined ? this.#sequences.get(appId) : undefined;
    const response = await this.#connection.call((transport) => call(createClient(ResolverService, transport)));
    const query = queryOf(requestSchema, request);
    const expected = { field: "answer", query, ...(fresh ? { madeAfter } : {}) };
    const opened = await this.#connection.verify(answerSchema, response.answer, expected);
    if (seen !== undefined && opened.header.appSequence < seen) {
      throw new Refusal(Reason.REGISTRY_ROLLED_BACK, `${this.domain} is behind what it said before`, {
        metadata: { registry: this.domain },
      });
    }
    if (appId !== undefined) this.#sawSequence(appId, opened);
    return { opened, response };
  }

  /** Makes a write and verifies that the answer is to this very statement. */
  async #write<AnswerDesc extends DescMessage, Response extends { readonly answer?: Statement | undefined }>(
    statement: Statement,
    answerSchema: AnswerDesc,
    call: (client: Client<typeof RegistryService>) => Promise<Response>,
  ): Promise<{ opened: OpenedAnswer<AnswerDesc>; response: Response }> {
    const response = await this.#connection.call((transport) => call(createClient(RegistryService, transport)));
    const expected = { field: "answer", inReplyTo: statementId(statement) };
    return { opened: await this.#connection.verify(answerSchema, response.answer, expected), response };
  }

  #namespaceOf(opened: OpenedAnswer<typeof NamespaceAnswerSchema>, asked?: string): Verified<Namespace> {
    const { namespace } = opened.message;
    if (namespace === undefined) throw this.#mismatch("answer.namespace");
    this.#expect(asked === undefined || namespace.namespace === asked, "answer.namespace.namespace");
    return verified(opened, namespace);
  }

  #appOf(opened: OpenedAnswer<typeof AppAnswerSchema>, asked?: string): Verified<App> {
    const { app } = opened.message;
    if (app === undefined) throw this.#mismatch("answer.app");
    this.#expect(asked === undefined || app.appId === asked, "answer.app.app_id");
    this.#sawSequence(app.appId, opened);
    return verified(opened, app);
  }

  #serviceOf(opened: OpenedAnswer<typeof ServiceAnswerSchema>, appId?: string, serviceId?: string): Verified<Service> {
    const { service } = opened.message;
    if (service === undefined) throw this.#mismatch("answer.service");
    this.#expect(appId === undefined || service.appId === appId, "answer.service.app_id");
    this.#expect(serviceId === undefined || service.serviceId === serviceId, "answer.service.service_id");
    this.#sawSequence(service.appId, opened);
    return verified(opened, service);
  }

  #sawSequence(appId: string, { header }: OpenedAnswer): void {
    if (header.appSequence > (this.#sequences.get(appId) ?? 0n)) this.#sequences.set(appId, header.appSequence);
  }

  #expect(fits: boolean, field: string): void {
    if (!fits) throw this.#mismatch(field);
  }

  #mismatch(field: string): Refusal {
    return answerInvalid(this.domain, field, "it is about something else than what was asked");
  }
}

function verified<T>({ header, statement }: OpenedAnswer, value: T): Verified<T> {
  return { value, header, statement };
}

const NOTHING = new Uint8Array();
const NONCE_LENGTH = 16;
const LIST_PAGE_SIZE = 100;

// Bounds on what a registry can make this client do: pages of one list, and lists begun again.
const MAX_LIST_PAGES = 100;
const MAX_LIST_ATTEMPTS = 3;

// Apps whose last sequence is remembered.
const MAX_SEQUENCES = 10_000;
