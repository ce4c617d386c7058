import type { Command } from "commander";
import { DataHandling, TerminationReceiptSchema } from "../../../gen/omi/agent/v1/agent_pb.ts";
import { ServiceSchema } from "../../../gen/omi/registry/v1/service_pb.ts";
import { example, wholeNumber } from "../arguments.ts";
import type { CliDeps } from "../deps.ts";
import { UsageError } from "../exit-code.ts";
import { withSession } from "../session.ts";
import { serviceTable, shown } from "../shown.ts";
import { addSettingOptions, type SettingOptions, settingsOf } from "./service-settings.ts";

type ProvisionOptions = SettingOptions & { provider: string; type: string; id?: string; validFor?: number };

const APP_ID = "org.omiappreg.alice.business_app.7f8a9d";

/** `omi service`: orders, ends and shows an app's services. */
export function addService(program: Command, deps: CliDeps): void {
  const group = program.command("service").description("an app's services");
  addProvision(group, deps);
  addTerminate(group, deps);

  const unbind = group
    .command("unbind <app-id> <service-id>")
    .description("end a service's binding for ever without asking its provider")
    .action((appId: string, serviceId: string, _: object, command: Command) =>
      withSession(command, deps, async (session) => {
        const tombstone = await session.developer().unbindService({ appId, serviceId });
        session.output.result(await shown(ServiceSchema, tombstone));
      }),
    );
  example(unbind, `omi service unbind ${APP_ID} cms-article-77 --key master.key.json`);

  const list = group
    .command("list <app-id>")
    .description("list all services of an app as they are now, tombstones included")
    .action((appId: string, _: object, command: Command) =>
      withSession(command, deps, async (session) => {
        const { value } = await session.connections.registries.forApp(appId).listServices(appId, { fresh: true });
        const services = await Promise.all(value.map((service) => shown(ServiceSchema, service)));
        session.output.result({ services }, () => serviceTable(value));
      }),
    );
  example(list, `omi service list ${APP_ID}`);

  const show = group
    .command("show <app-id> <service-id>")
    .description("show a service as it is now")
    .action((appId: string, serviceId: string, _: object, command: Command) =>
      withSession(command, deps, async (session) => {
        const registry = session.connections.registries.forApp(appId);
        const { value } = await registry.resolveService(appId, serviceId, { fresh: true });
        session.output.result(await shown(ServiceSchema, value));
      }),
    );
  example(show, `omi service show ${APP_ID} cms-article-77`);
}

function addProvision(group: Command, deps: CliDeps): void {
  const provision = addSettingOptions(
    group
      .command("provision <app-id>")
      .description("order a service; its provider binds it at the registry")
      .requiredOption("--provider <domain>", "the provider")
      .requiredOption("--type <type>", "what is ordered, e.g. cms-article")
      .option("--id <service-id>", "the ID that the service shall have; the provider picks one if left out"),
  )
    .option("--valid-for <seconds>", "for how long the provider may use the order, at most 3600", wholeNumber)
    .action((appId: string, options: ProvisionOptions, command: Command) =>
      withSession(command, deps, async (session) => {
        const { provider, type: serviceType, id, validFor } = options;
        const service = await session.developer().provisionService({
          ...settingsOf(options),
          appId,
          provider,
          serviceType,
          ...(id !== undefined && { serviceId: id }),
          ...(validFor !== undefined && { lifetimeSeconds: validFor }),
        });
        session.output.result(await shown(ServiceSchema, service));
      }),
    );
  example(provision, `omi service provision ${APP_ID} --provider article.cms.io --type cms-article --tier pro_cluster`);
}

function addTerminate(group: Command, deps: CliDeps): void {
  const terminate = group
    .command("terminate <app-id> <service-id>")
    .description("end a service for ever: its provider handles the data and gives a receipt, the registry unbinds it")
    .option("--wipe", "have the data deleted")
    .option("--retain", "have the data kept by the provider, as your contract with it says")
    .action((appId: string, serviceId: string, options: { wipe?: boolean; retain?: boolean }, command: Command) =>
      withSession(command, deps, async (session) => {
        const { wipe = false, retain = false } = options;
        if (wipe === retain) throw new UsageError("what becomes of the data? Give --wipe or --retain");
        const dataHandling = wipe ? DataHandling.WIPE : DataHandling.RETAIN;
        const { service, receipt, repeated } = await session
          .developer()
          .terminateService({ appId, serviceId, dataHandling });
        session.output.result({
          service: await shown(ServiceSchema, service),
          receipt: receipt === undefined ? null : await shown(TerminationReceiptSchema, receipt),
          repeated,
        });
        if (repeated)
          session.output.note("The receipt is for an earlier order, which may have said otherwise of the data.");
      }),
    );
  example(terminate, `omi service terminate ${APP_ID} cms-article-77 --wipe --key master.key.json`);
}
