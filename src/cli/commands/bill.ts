import type { Command } from "commander";
import { BillSchema } from "../../../gen/omi/billing/v1/billing_service_pb.ts";
import { example } from "../arguments.ts";
import type { CliDeps } from "../deps.ts";
import { withSession } from "../session.ts";
import { shown } from "../shown.ts";

/** `omi bill`: shows what services of an app used. */
export function addBill(program: Command, deps: CliDeps): void {
  const show = program
    .command("bill")
    .description("what services of an app used")
    .command("show <app-id> <service-id>")
    .description("show the running bill of a service, or the final one once it was unbound")
    .option("--provider <domain>", "the Billing provider; the one that the app's backbone names if left out")
    .action((appId: string, serviceId: string, { provider }: { provider?: string }, command: Command) =>
      withSession(command, deps, async (session) => {
        const order = { appId, serviceId, ...(provider !== undefined && { provider }) };
        session.output.result(await shown(BillSchema, await session.developer().readBill(order)));
      }),
    );
  example(show, "omi bill show org.omiappreg.alice.business_app.7f8a9d cms-article-77 --key master.key.json");
}
