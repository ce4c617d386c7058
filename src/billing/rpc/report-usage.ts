import type { ServiceImpl } from "@connectrpc/connect";
import type { BillingService, UsageLine } from "../../../gen/omi/billing/v1/billing_service_pb.ts";
import { type App, OperationalRole } from "../../../gen/omi/registry/v1/app_pb.ts";
import { unixSeconds } from "../../core/clock.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { bearerToken } from "../../token/bearer.ts";
import { backboneAudienceOf } from "../../token/claims.ts";
import { lineInvalid } from "../accounts.ts";
import type { BillingCore } from "../core.ts";

/** `BillingService.ReportUsage`. */
export function reportUsage(core: BillingCore): ServiceImpl<typeof BillingService>["reportUsage"] {
  const { callers, accounts, writes, subscriber, clock, baseUrl } = core;
  return async ({ appId, serviceId, reportId, lines }, { requestHeader }) => {
    const caller = await callers.authenticate(bearerToken(requestHeader), appId, (app) => audiencesIn(app, baseUrl));
    if (serviceId !== caller.serviceId) {
      const metadata = { field: "service_id" };
      throw new Refusal(Reason.FIELD_MISMATCH, "service_id: the token is another service's", { metadata });
    }
    requireDistinctMeters(lines);
    const added = await writes.run("usage.report", () =>
      accounts.add({ appId, serviceId, reportId, lines }, unixSeconds(clock)),
    );
    // The account is on disk, and so it is listened to after a crash here as well.
    subscriber.add(appId);
    return { repeatedReport: !added };
  };
}

/** What tokens for this party are for: every billing service that the app's backbone says is to be found here. */
function audiencesIn({ appId, context }: App, baseUrl: string): string[] {
  const here = (context?.operationalServices ?? []).filter(
    ({ role, url }) => role === OperationalRole.BILLING && withoutSlash(url) === withoutSlash(baseUrl),
  );
  return here.map(({ role, name }) => backboneAudienceOf(appId, role, name));
}

function withoutSlash(url: string): string {
  return url.endsWith("/") ? url.slice(0, -1) : url;
}

function requireDistinctMeters(lines: readonly UsageLine[]): void {
  const meters = new Set<string>();
  for (const [index, { meter }] of lines.entries()) {
    if (meters.has(meter)) throw lineInvalid(index, "meter", "unique");
    meters.add(meter);
  }
}
