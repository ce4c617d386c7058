import { DataHandling } from "../../../gen/omi/agent/v1/agent_pb.ts";
import { OperationalRole } from "../../../gen/omi/registry/v1/app_pb.ts";
import { ServiceStatus } from "../../../gen/omi/registry/v1/service_pb.ts";
import { AUTH_SERVICE_ID } from "../../../src/core/names.ts";
import { meshDomains } from "../../../src/operator/mesh.ts";
import type { Chance } from "./chance.ts";
import { type AppStory, add, never, type ServiceStory, serviceStory } from "./story.ts";
import type { TestDeveloper } from "./test-developer.ts";
import type { TestUsers } from "./test-users.ts";

/** Who takes part in the life of an app. */
export interface Cast {
  readonly developer: TestDeveloper;
  readonly namespace: string;
  readonly users: TestUsers;
  readonly chance: Chance;
}

const { registry, auth, articles, journal, billing } = meshDomains;

/** Lives an app's whole life, all workflows in it, and tells what should be left of it. */
export async function liveApp({ developer, namespace, users, chance }: Cast, slug: string): Promise<AppStory> {
  // An AppID can't be guessed, so the developer sends the manifest until it is known.
  const { appId } = await developer.patient.registerApp({ registry, namespace, slug, displayName: slug });
  const authStory = serviceStory(AUTH_SERVICE_ID, auth);
  const story: AppStory = { appId, backbone: never(), services: [authStory], users: [] };
  const life = new ServiceLife(developer, story);

  await life.setBackbone();
  await life.provisionAuth(authStory);
  const user = await users.signUp(appId);
  if (user !== undefined) story.users.push(user);

  const services = [articles, journal].map(async (provider, index) => {
    const service = await life.provision(provider, chance.happens(0.5) ? undefined : `service-${index}`);
    story.services.push(service);
    const write = async () => {
      if (user !== undefined) service.articles.push(await users.writeArticle(appId, user, service));
    };
    await write();
    if (chance.happens(0.8)) await life.rotate(service, { graceSeconds: 1 });
    if (chance.happens(0.6)) await life.reset(service);
    await write();
    if (chance.happens(0.6)) await life.rotate(service, { immediate: true });
    if (chance.happens(0.5)) await life.end(service, chance);
  });
  const authLife = async () => {
    if (chance.happens(0.7)) await life.rotate(authStory, { immediate: true });
    if (chance.happens(0.5)) await life.provisionAuth(authStory);
    if (chance.happens(0.4)) await life.reset(authStory);
    if (chance.happens(0.4)) await life.rotate(authStory, { immediate: true });
  };
  await Promise.all([...services, authLife()]);
  if (chance.happens(0.3)) await life.end(authStory, chance);
  return story;
}

/** What can be done to the services of an app, and the account of it. */
class ServiceLife {
  readonly #developer: TestDeveloper;
  readonly #story: AppStory;

  constructor(developer: TestDeveloper, story: AppStory) {
    this.#developer = developer;
    this.#story = story;
  }

  async setBackbone(): Promise<void> {
    const { appId, backbone } = this.#story;
    const services = [{ role: OperationalRole.BILLING, name: "bill", url: `http://${billing}` }];
    const attempts = await this.#developer.complete(
      () => this.#developer.flows.updateBackbone({ appId, services }),
      async () => (await this.#developer.app(appId)).context?.operationalServices.length === 1,
    );
    add(backbone, attempts);
  }

  async provisionAuth({ bound }: ServiceStory): Promise<void> {
    const { appId } = this.#story;
    const isNew = await this.#newKey(AUTH_SERVICE_ID);
    add(
      bound,
      await this.#developer.complete(() => this.#developer.flows.provisionAuth({ appId, provider: auth }), isNew),
    );
  }

  /** @param serviceId the provider picks one if left out; only a patient developer then knows what to look for */
  async provision(provider: string, serviceId: string | undefined): Promise<ServiceStory> {
    const { appId } = this.#story;
    const order = { appId, provider, serviceType: "cms-article" };
    const developer = this.#developer;
    if (serviceId === undefined) {
      const record = await developer.patient.provisionService(order);
      const story = serviceStory(record.serviceId, provider);
      add(story.bound, 1);
      return story;
    }
    const attempts = await developer.complete(
      () => developer.flows.provisionService({ ...order, serviceId }),
      () => developer.isIn(ServiceStatus.ACTIVE, appId, serviceId),
    );
    const story = serviceStory(serviceId, provider);
    // The registry binds a service once, however many orders name it.
    add(story.bound, Math.min(attempts, 1));
    return story;
  }

  async rotate(
    { serviceId, rotated }: ServiceStory,
    how: { graceSeconds?: number; immediate?: boolean },
  ): Promise<void> {
    const { appId } = this.#story;
    const isNew = await this.#newKey(serviceId);
    const rotate = () => this.#developer.flows.rotate({ appId, serviceId, ...how });
    add(rotated, await this.#developer.complete(rotate, isNew));
  }

  async reset({ serviceId, suspended, bound }: ServiceStory): Promise<void> {
    const { appId } = this.#story;
    const isNew = await this.#newKey(serviceId);
    const attempts = await this.#developer.complete(
      () => this.#developer.flows.masterReset({ appId, serviceId }),
      isNew,
    );
    add(suspended, attempts);
    add(bound, attempts);
  }

  async end(service: ServiceStory, chance: Chance): Promise<void> {
    const { appId } = this.#story;
    const { serviceId, suspended } = service;
    const developer = this.#developer;
    const { flows } = developer;
    const isGone = () => developer.isIn(ServiceStatus.REVOKED, appId, serviceId);
    if (chance.happens(0.2)) {
      await developer.complete(() => flows.unbindService({ appId, serviceId }), isGone);
      service.end = "unbound";
      return;
    }
    if (chance.happens(0.2)) {
      const suspend = () => flows.suspend({ appId, serviceId });
      await developer.complete(suspend, () => developer.isIn(ServiceStatus.SUSPENDED, appId, serviceId));
      // Whoever suspends twice is refused.
      add(suspended, 1);
    }
    const dataHandling = chance.pick([DataHandling.WIPE, DataHandling.RETAIN]);
    await developer.complete(() => flows.terminateService({ appId, serviceId, dataHandling }), isGone);
    service.end = "terminated";
    service.dataHandling = dataHandling;
  }

  /** Tells whether a service has got another key since now. */
  async #newKey(serviceId: string): Promise<() => Promise<boolean>> {
    const { appId } = this.#story;
    const before = await this.#developer.activeKey(appId, serviceId);
    return async () => {
      const active = await this.#developer.activeKey(appId, serviceId);
      return active !== undefined && active !== before;
    };
  }
}
