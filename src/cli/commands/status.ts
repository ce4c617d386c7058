import { createClient } from "@connectrpc/connect";
import type { Command } from "commander";
import { EventTypeSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import {
  CarrierSchema,
  type GetSubscriptionResponse,
  GetSubscriptionResponseSchema,
  SubscriberService,
  SubscriptionStateSchema,
} from "../../../gen/omi/event/v1/subscriber_service_pb.ts";
import { type App, OperationalRole } from "../../../gen/omi/registry/v1/app_pb.ts";
import { type Service, ServiceStatus } from "../../../gen/omi/registry/v1/service_pb.ts";
import { isRefusal, reasonName } from "../../core/refusal.ts";
import { isoTime } from "../../developer/readable.ts";
import { example } from "../arguments.ts";
import type { CliDeps } from "../deps.ts";
import { type Session, withSession } from "../session.ts";
import { shown } from "../shown.ts";
import { asTable, enumName } from "../text.ts";

/** `omi status`: how far the parts that listen to an app's events have come. */
export function addStatus(program: Command, deps: CliDeps): void {
  const status = program
    .command("status <app-id>")
    .description("show how far each part of an app has come with its events")
    .action((appId: string, _: object, command: Command) =>
      withSession(command, deps, (session) => showStatus(session, appId)),
    );
  example(status, "omi status org.omiappreg.alice.business_app.7f8a9d");
}

/** What one part answered, or why it did not. */
type PartStatus = {
  readonly domain: string;
  readonly subscription?: GetSubscriptionResponse;
  readonly problem?: string;
};

async function showStatus(session: Session, appId: string): Promise<void> {
  const registry = session.connections.registries.forApp(appId);
  const { value: heads } = await registry.getHeads([appId]);
  const { value: app } = await registry.resolveApp(appId, { fresh: true });
  const { value: services } = await registry.listServices(appId, { fresh: true });
  const head = heads.apps.find((one) => one.appId === appId)?.sequence ?? 0n;
  const parts = await Promise.all(listeners(app, services).map((domain) => ask(session, domain, appId)));
  const json = await Promise.all(
    parts.map(async ({ domain, subscription, problem }) => ({
      domain,
      ...(subscription !== undefined && {
        lag: Number(head - subscription.appliedSequence),
        subscription: await shown(GetSubscriptionResponseSchema, subscription),
      }),
      ...(problem !== undefined && { problem }),
    })),
  );
  session.output.result({ app_id: appId, head: Number(head), parts: json }, () => statusTable(head, parts));
}

/** The domains that should listen: the Auth Provider, the providers of live services, the billing services. */
function listeners({ context }: App, services: readonly Service[]): string[] {
  const domains = new Set(services.filter(({ status }) => status !== ServiceStatus.REVOKED).map((s) => s.provider));
  if (context?.authProvider) domains.add(context.authProvider);
  for (const { role, url } of context?.operationalServices ?? []) {
    if (role === OperationalRole.BILLING) domains.add(new URL(url).hostname);
  }
  return [...domains].sort();
}

async function ask({ connections }: Session, domain: string, appId: string): Promise<PartStatus> {
  try {
    const transport = await connections.transportFor(domain);
    const subscription = await createClient(SubscriberService, transport).getSubscription({ appId });
    return { domain, subscription };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return { domain, problem: reasonName(error.reason) };
  }
}

function statusTable(head: bigint, parts: readonly PartStatus[]): string {
  const rows = parts.map(({ domain, subscription, problem }) => {
    if (subscription === undefined) return [domain, "", "", "", problem ?? "", "", ""];
    const { appliedSequence, headTime, lastAppliedAt, lastEvent, counts } = subscription;
    return [
      domain,
      enumName(CarrierSchema, subscription.carrier),
      String(appliedSequence),
      String(head - appliedSequence),
      enumName(SubscriptionStateSchema, subscription.state),
      headTime === 0n ? "none" : isoTime(headTime),
      lastAppliedAt === 0n ? "none" : `${enumName(EventTypeSchema, lastEvent)} ${isoTime(lastAppliedAt)}`,
      `${counts?.forged ?? 0n}/${counts?.doubled ?? 0n}/${counts?.early ?? 0n}/${counts?.unknown ?? 0n}`,
    ];
  });
  const heading = [
    "PART",
    "CARRIER",
    "CURSOR",
    "LAG",
    "STATE",
    "LAST HEAD",
    "LAST EVENT",
    "FORGED/DOUBLED/EARLY/UNKNOWN",
  ];
  return `The registry's head is at ${head}.\n${asTable(heading, rows)}`;
}
