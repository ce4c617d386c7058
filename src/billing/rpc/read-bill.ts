import type { ServiceImpl } from "@connectrpc/connect";
import {
  AccountStatus,
  type BillingService,
  BillRequestSchema,
  BillSchema,
} from "../../../gen/omi/billing/v1/billing_service_pb.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { signProviderAnswer } from "../../tenancy/answer.ts";
import type { BillingCore } from "../core.ts";

/** `BillingService.ReadBill`. The same bytes again read the bill again, as it is then, while they are fresh. */
export function readBill(core: BillingCore): ServiceImpl<typeof BillingService>["readBill"] {
  const { orders, accounts, writes, admission, provider } = core;
  return async ({ statement }) => {
    const { opened } = await orders.open(BillRequestSchema, statement);
    const { appId, serviceId } = opened.message;
    const { account, now } = await writes.run("bill.read", () => ({
      now: admission.admitRead(opened),
      account: accounts.get({ appId, serviceId }),
    }));
    if (account === undefined) {
      throw new Refusal(Reason.ACCOUNT_UNKNOWN, "no usage was ever reported for this service");
    }
    const { closedAt, openedAt, reports, totals } = account;
    const answer = signProviderAnswer(
      BillSchema,
      {
        appId,
        serviceId,
        status: closedAt === 0n ? AccountStatus.OPEN : AccountStatus.CLOSED,
        totals: [...totals],
        reports,
        openedAt,
        closedAt,
      },
      { order: opened, key: provider.key, now },
    );
    return { answer };
  };
}
