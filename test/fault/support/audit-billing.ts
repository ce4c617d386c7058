import { fromBinary } from "@bufbuild/protobuf";
import BetterSqlite3 from "better-sqlite3";
import { ReportUsageRequestSchema } from "../../../gen/omi/billing/v1/billing_service_pb.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { AUTH_SERVICE_ID } from "../../../src/core/names.ts";
import type { FaultMesh } from "./fault-mesh.ts";
import type { AppStory, ServiceStory } from "./story.ts";

/**
 * Every article that a service said it has stored is counted once: on the bill, or still on its way there. One whose storing
 * was cut off may be counted or not. Services that ended are left out, as what was on its way then may be lost.
 */
export function auditBilling(mesh: FaultMesh, stories: readonly AppStory[]): string[] {
  const billing = new BetterSqlite3(mesh.databaseFile("billing"), { readonly: true });
  const problems = (["cms-article", "journal"] as const).flatMap((name) => {
    const agent = new BetterSqlite3(mesh.databaseFile(name), { readonly: true });
    const articles = new BetterSqlite3(mesh.articlesFile(name), { readonly: true });
    const { domain } = mesh.members[name].member;
    const found = stories.flatMap(({ appId, services }) =>
      services
        .filter(({ provider, end }) => provider === domain && end === "in use")
        .filter(() => services.some(({ serviceId, end }) => serviceId === AUTH_SERVICE_ID && end === "in use"))
        .flatMap((service) => auditService(appId, service, { billing, agent, articles })),
    );
    agent.close();
    articles.close();
    return found;
  });
  billing.close();
  return problems;
}

type Databases = Record<"billing" | "agent" | "articles", BetterSqlite3.Database>;

function auditService(appId: string, service: ServiceStory, { billing, agent, articles }: Databases): string[] {
  const { serviceId } = service;
  const known = new Set(
    query<string>(
      billing,
      "SELECT lower(hex(report_id)) FROM reports WHERE app_id = ? AND service_id = ?",
      appId,
      serviceId,
    ),
  );
  const reports = query<Buffer>(
    agent,
    "SELECT report FROM usage_reports WHERE app_id = ? AND service_id = ?",
    appId,
    serviceId,
  ).map((bytes) => fromBinary(ReportUsageRequestSchema, bytes));
  const onTheWay = reports.filter(({ reportId }) => !known.has(toHex(reportId))).flatMap(({ lines }) => lines);
  const amounts = [
    ...query<number>(billing, "SELECT amount FROM totals WHERE app_id = ? AND service_id = ?", appId, serviceId),
    ...query<number>(agent, "SELECT amount FROM usage_pending WHERE app_id = ? AND service_id = ?", appId, serviceId),
    ...onTheWay.map(({ amount }) => Number(amount)),
  ];
  const counted = amounts.reduce((sum, amount) => sum + amount, 0);
  const [stored = 0] = query<number>(
    articles,
    "SELECT count(*) FROM articles JOIN spaces USING (space) WHERE app_id = ? AND service_id = ?",
    appId,
    serviceId,
  );
  const confirmed = service.articles.length;
  if (confirmed <= counted && counted <= stored) return [];
  return [`${appId}/${serviceId}: ${counted} articles counted, ${confirmed} confirmed, ${stored} stored`];
}

function query<T>(db: BetterSqlite3.Database, sql: string, appId: string, serviceId: string): T[] {
  return db.prepare<[string, string], T>(sql).pluck().all(appId, serviceId);
}
