import fc from "fast-check";
import { AppAnswerSchema } from "../../../gen/omi/registry/v1/app_pb.ts";
import { RegistryService } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { BindingAnswerSchema, ServiceAnswerSchema } from "../../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../../gen/omi/statement/v1/statement_pb.ts";
import type { SigningKey } from "../../../src/statement/crypto.ts";
import { openAnswer } from "../../../src/statement/statement.ts";
import {
  announcementOf,
  backboneOf,
  bindingOf,
  claimOf,
  manifestOf,
  orderOf,
  present,
  receiptOf,
  rotationOf,
  suspendOf,
  type TestApp,
  type TestService,
  unbindOf,
} from "../../support/developer.ts";
import { testKey } from "../../support/keys.ts";
import { providers } from "../../support/registry.ts";
import type { FileRegistry } from "./file-registry.ts";
import { resolvedApp } from "./records.ts";
import { send } from "./signed-rpc.ts";
import { requestHeader, withHeader } from "./tampering.ts";

/** A signed RPC of `RegistryService` that writes to the log. */
export type Method = Exclude<keyof typeof RegistryService.method, "activateNamespace" | "resendActivationCode">;

/** How likely each step is. `repeat` sends an earlier statement again. */
const weights: Record<Method | "repeat", number> = {
  claimNamespace: 1,
  registerApp: 2,
  updateBackbone: 2,
  announceAuth: 3,
  bindService: 7,
  rotateKey: 7,
  suspendService: 3,
  unbindService: 2,
  repeat: 3,
};

/** What somebody does next. The numbers choose among what there is. */
interface Step {
  kind: Method | "repeat";
  which: number;
  name: number;
  /** Which key of all that there are, if the step is odd. */
  key: number;
  /** True: something about it is wrong, most often. */
  odd: boolean;
  flag: boolean;
  /** How much the clock moves before, in seconds. */
  seconds: number;
}

/** Stories of some sixty steps. They begin with a developer and an app, so that something can happen. */
export const stories: fc.Arbitrary<Step[]> = fc
  .array(
    fc.record<Step>({
      kind: fc.oneof(
        ...Object.entries(weights).map(([kind, weight]) => ({
          arbitrary: fc.constant(kind as Step["kind"]),
          weight,
        })),
      ),
      which: fc.nat(40),
      name: fc.nat(3),
      key: fc.nat(100),
      odd: fc.nat(3).map((n) => n === 0),
      flag: fc.boolean(),
      seconds: fc.oneof(
        { arbitrary: fc.constantFrom(0, 1, 1), weight: 12 },
        { arbitrary: fc.constantFrom(60, 299, 300, 301, 900, 3600, -30, -200), weight: 3 },
      ),
    }),
    { minLength: 50, maxLength: 70 },
  )
  .map((steps) => [opening("claimNamespace"), opening("registerApp"), ...steps]);

function opening(kind: Method): Step {
  return { kind, which: 0, name: 0, key: 0, odd: false, flag: false, seconds: 0 };
}

const slugs = ["shop", "web-shop", "web_shop", "blog"] as const;
const serviceIds = ["cms-1", "cms-2", "cms_2", "auth"] as const;

interface Sent {
  method: Method;
  statement: Statement;
  /** Who signed it. */
  key: SigningKey;
  /** The service that there is once it was accepted, where the answer doesn't say so. */
  brings?: TestService;
}

let keys = 0;

/** Plays steps against a registry, and remembers what they led to, so that most of the next ones make sense. */
export class Story {
  readonly #registry: FileRegistry;
  readonly #keys: SigningKey[] = [];
  readonly #developers: Pick<TestApp, "namespace" | "master">[] = [];
  readonly #apps: TestApp[] = [];
  readonly #orders: { app: TestApp; statement: Statement; serviceId: string }[] = [];
  readonly #services: TestService[] = [];
  readonly #sent: Sent[] = [];

  constructor(registry: FileRegistry) {
    this.#registry = registry;
  }

  /** Plays one step; undefined if there was nothing to do it with. */
  async play(step: Step): Promise<{ method: Method; error?: unknown } | undefined> {
    this.#registry.clock.advance(step.seconds);
    const sent = await this.#compose(step);
    if (sent === undefined) return undefined;
    this.#sent.push(sent);
    const { method, statement } = sent;
    try {
      const draft = { statement, keys: { "": sent.key } };
      this.#learn(sent, step, await send(this.#registry, RegistryService.method[method], draft));
      return { method };
    } catch (error) {
      return { method, error };
    }
  }

  async #compose(step: Step): Promise<Sent | undefined> {
    const { clock } = this.#registry;
    const { kind, which, odd, flag } = step;
    switch (kind) {
      case "claimNamespace": {
        const key = this.#key(step);
        return { method: kind, key, statement: claimOf(clock, `dev-${which % 6}`, key) };
      }
      case "registerApp": {
        const developer = pick(this.#developers, which);
        if (developer === undefined) return undefined;
        const key = odd ? this.#key(step) : developer.master;
        const projectSlug = at(slugs, step.name);
        return { method: kind, key, statement: manifestOf(clock, developer.namespace, key, { projectSlug }) };
      }
      case "repeat": {
        const sent = pick(this.#sent, which);
        if (sent === undefined || !odd) return sent;
        const timestamp = requestHeader(sent.statement).timestamp + 1n;
        return { ...sent, statement: withHeader(sent.statement, sent.key, { timestamp }) };
      }
      case "updateBackbone":
      case "announceAuth":
      case "bindService": {
        const app = pick(this.#apps, which);
        return app && (kind === "bindService" ? this.#bind(step, app) : this.#configure(kind, step, app));
      }
      case "rotateKey": {
        const service = pick(this.#services, which);
        if (service === undefined) return undefined;
        const key = odd && flag ? this.#key(step) : service.key;
        const next = odd && !flag ? this.#key(step) : this.#freshKey();
        const fields = { immediate: flag, gracePeriodSeconds: step.name * 200 };
        return { method: kind, key, statement: rotationOf(clock, service, next, fields, key) };
      }
      case "suspendService": {
        const service = pick(this.#services, which);
        if (service === undefined) return undefined;
        const key = odd ? this.#key(step) : service.app.master;
        return { method: kind, key, statement: suspendOf(clock, service, key) };
      }
      case "unbindService": {
        const service = pick(this.#services, which);
        if (service === undefined) return undefined;
        const receipt = flag ? receiptOf(clock, service, {}, odd ? this.#key(step) : service.key) : undefined;
        return { method: kind, key: service.app.master, statement: unbindOf(clock, service, receipt) };
      }
    }
  }

  async #configure(method: "updateBackbone" | "announceAuth", step: Step, app: TestApp): Promise<Sent> {
    const { clock } = this.#registry;
    const { context } = await resolvedApp(this.#registry, app.appId);
    const expectedConfigEpoch = step.odd && step.flag ? BigInt(step.which) : (context?.configEpoch ?? 0n);
    if (method === "updateBackbone") {
      return { method, key: app.master, statement: backboneOf(clock, app, { expectedConfigEpoch }) };
    }
    const { domain, key: answerer } = step.name === 0 ? providers.crm : providers.auth;
    const authProviderUrl = `http://${domain}`;
    const serviceKey = this.#freshKey();
    const statement = announcementOf(clock, app, {
      authKey: this.#key(step),
      serviceKey,
      answerer,
      answer: { authProviderUrl },
      announcement: {
        authProvider: domain,
        authProviderUrl,
        expectedConfigEpoch,
        keepPreviousAuthKeySeconds: step.flag ? 3600 : 0,
      },
    });
    return { method, key: app.master, statement, brings: { app, serviceId: "auth", key: serviceKey } };
  }

  /** A binding with a new order; an odd one with an earlier order, of another app perhaps. */
  #bind(step: Step, app: TestApp): Sent {
    const { clock } = this.#registry;
    const earlier = step.odd ? pick(this.#orders, step.key) : undefined;
    const serviceId = at(serviceIds, step.name);
    const order = earlier?.statement ?? orderOf(clock, app, step.flag ? { serviceId } : {});
    if (earlier === undefined) this.#orders.push({ app, statement: order, serviceId });
    const key = this.#key(step);
    const changes = { serviceId: earlier?.serviceId ?? serviceId, key, order };
    return { method: "bindService", key, statement: bindingOf(clock, earlier?.app ?? app, changes) };
  }

  /** Remembers what an accepted statement has led to. */
  #learn({ method, key, brings }: Sent, step: Step, answer: Statement): void {
    if (step.kind === "claimNamespace") {
      this.#developers.push({ namespace: `dev-${step.which % 6}`, master: key });
    }
    if (step.kind === "registerApp") {
      const app = present(openAnswer(AppAnswerSchema, answer).message.app);
      this.#apps.push({ appId: app.appId, namespace: app.ownerNamespace, master: key });
    }
    const service = method === step.kind ? (brings ?? this.#serviceOf(answer)) : undefined;
    if (service === undefined) return;
    const known = this.#services.find(({ app, serviceId }) => app === service.app && serviceId === service.serviceId);
    if (known === undefined) this.#services.push(service);
    else known.key = service.key;
  }

  /** The service that an answer tells of, if it has a key. */
  #serviceOf(answer: Statement): TestService | undefined {
    const schemas = [ServiceAnswerSchema, BindingAnswerSchema];
    const schema = schemas.find(({ typeName }) => typeName === answer.type);
    const service = schema && openAnswer(schema, answer).message.service;
    const app = this.#apps.find(({ appId }) => appId === service?.appId);
    const key = this.#keys.find(({ keyId }) => keyId === service?.keys[0]?.keyId);
    return service && app && key && { app, serviceId: service.serviceId, key };
  }

  /** A new key; for an odd step one that was seen before. */
  #key(step: Step): SigningKey {
    return (step.odd ? pick(this.#keys, step.key) : undefined) ?? this.#freshKey();
  }

  #freshKey(): SigningKey {
    const key = testKey(`story ${keys++}`);
    this.#keys.push(key);
    return key;
  }
}

function pick<T>(items: readonly T[], index: number): T | undefined {
  return items[index % items.length];
}

function at<T>(items: readonly [T, ...T[]], index: number): T {
  return items[index] ?? items[0];
}
