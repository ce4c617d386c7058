import BetterSqlite3 from "better-sqlite3";
import { DataHandling } from "../../../gen/omi/agent/v1/agent_pb.ts";
import { ServiceStatus } from "../../../gen/omi/registry/v1/service_pb.ts";
import { meshDomains } from "../../../src/operator/mesh.ts";
import { auditBilling } from "./audit-billing.ts";
import type { Truth } from "./audit-provider.ts";
import type { FaultMesh } from "./fault-mesh.ts";
import { statusName } from "./service-history.ts";
import type { AppStory, Count, ServiceStory } from "./story.ts";

/** Everything that did not come out as the developers were told. */
export function auditStories(mesh: FaultMesh, stories: readonly AppStory[], truth: Truth): string[] {
  return [
    ...auditEffects(stories, truth),
    ...auditUsers(mesh, stories),
    ...auditArticles(mesh, stories),
    ...auditBilling(mesh, stories),
  ];
}

function* auditEffects(stories: readonly AppStory[], { facts, histories }: Truth): Generator<string> {
  const registered = facts.log.filter(({ effect }) => effect.$typeName === "omi.registry.v1.AppRegistered").length;
  if (registered !== stories.length) yield `${registered} apps registered, ${stories.length} known to developers`;
  for (const { appId, backbone, services } of stories) {
    const updates = facts.log.filter(
      ({ effect }) => effect.$typeName === "omi.registry.v1.BackboneChanged" && effect.appId === appId,
    ).length;
    yield* checkCount(`${appId}: backbones`, updates, backbone);
    const known = facts.services.filter((service) => service.appId === appId).length;
    if (known !== services.length) yield `${appId}: ${known} services, ordered were ${services.length}`;
    for (const service of services) {
      const name = `${appId}/${service.serviceId}`;
      const history = histories.get(name);
      if (history === undefined) {
        yield `${name}: not in the log`;
        continue;
      }
      yield* checkCount(`${name}: bindings`, history.bound, service.bound);
      yield* checkCount(`${name}: rotations`, history.rotated, service.rotated);
      yield* checkCount(`${name}: suspensions`, history.suspended, service.suspended);
      const expected = service.end === "in use" ? ServiceStatus.ACTIVE : ServiceStatus.REVOKED;
      if (history.status !== expected) yield `${name}: ${service.end}, at the registry ${statusName(history.status)}`;
      if (
        service.provider !== meshDomains.auth &&
        service.end === "in use" &&
        history.bound !== history.suspended + 1
      ) {
        yield `${name}: suspended ${history.suspended} times and bound ${history.bound} times`;
      }
    }
  }
}

function* checkCount(what: string, found: number, { least, most }: Count): Generator<string> {
  if (found < least || found > most) yield `${what}: ${found}, expected ${least} to ${most}`;
}

/** Users whose accounts were confirmed are there, or wiped. */
function* auditUsers(mesh: FaultMesh, stories: readonly AppStory[]): Generator<string> {
  const db = new BetterSqlite3(mesh.databaseFile("auth-provider"), { readonly: true });
  const names = db.prepare<[string], string>("SELECT name FROM users WHERE app_id = ?").pluck();
  for (const { appId, users, services } of stories) {
    const found = names.all(appId).sort();
    const isWiped = services.some(({ provider, ...service }) => provider === meshDomains.auth && wiped(service));
    const expected = isWiped ? [] : [...users].sort();
    if (found.join() !== expected.join()) yield `${appId}: the users are ${found}, expected ${expected}`;
  }
  db.close();
}

/** Articles whose storing was confirmed are there, or wiped. */
function* auditArticles(mesh: FaultMesh, stories: readonly AppStory[]): Generator<string> {
  for (const name of ["cms-article", "journal"] as const) {
    const db = new BetterSqlite3(mesh.articlesFile(name), { readonly: true });
    const ids = db
      .prepare<[string, string], string>(
        "SELECT article_id FROM articles JOIN spaces USING (space) WHERE app_id = ? AND service_id = ?",
      )
      .pluck();
    const domain = mesh.members[name].member.domain;
    for (const { appId, services } of stories) {
      for (const service of services.filter(({ provider }) => provider === domain)) {
        const found = new Set(ids.all(appId, service.serviceId));
        const lost = service.articles.filter((id) => !found.has(id));
        if (wiped(service) && found.size > 0) yield `${appId}/${service.serviceId}: ${found.size} articles not wiped`;
        if (!wiped(service) && lost.length > 0) yield `${appId}/${service.serviceId}: ${lost.length} articles lost`;
      }
    }
    db.close();
  }
}

function wiped({ dataHandling }: Pick<ServiceStory, "dataHandling">): boolean {
  return dataHandling === DataHandling.WIPE;
}
