import { type Command, Option } from "commander";
import { ServiceSchema } from "../../../gen/omi/registry/v1/service_pb.ts";
import { countingNumber, example } from "../arguments.ts";
import type { CliDeps } from "../deps.ts";
import { withSession } from "../session.ts";
import { shown } from "../shown.ts";
import { addSettingOptions, type SettingOptions, settingsOf } from "./service-settings.ts";

const SERVICE = "org.omiappreg.alice.business_app.7f8a9d cms-article-77";

/** `omi rotate`, `omi suspend` and `omi master-reset`: what a developer can do about a service's key. */
export function addKeyCommands(program: Command, deps: CliDeps): void {
  const rotate = program
    .command("rotate <app-id> <service-id>")
    .description("have a service's provider replace its key")
    .option(
      "--grace <seconds>",
      "how long the old key stays in grace; the registry's default if left out",
      countingNumber,
    )
    .addOption(new Option("--immediate", "no grace: the old key stops at once").conflicts("grace"))
    .action((appId: string, serviceId: string, options: { grace?: number; immediate?: boolean }, command: Command) =>
      withSession(command, deps, async (session) => {
        const { grace: graceSeconds = 0, immediate = false } = options;
        const service = await session.developer().rotate({ appId, serviceId, graceSeconds, immediate });
        session.output.result(await shown(ServiceSchema, service));
      }),
    );
  example(rotate, `omi rotate ${SERVICE} --grace 600`);

  const suspend = program
    .command("suspend <app-id> <service-id>")
    .description("stop all keys of a service at once, without asking it")
    .action((appId: string, serviceId: string, _: object, command: Command) =>
      withSession(command, deps, async (session) => {
        const service = await session.developer().suspend({ appId, serviceId });
        session.output.result(await shown(ServiceSchema, service));
        session.output.note(`Give it a fresh key with: omi master-reset ${appId} ${serviceId}`);
      }),
    );
  example(suspend, `omi suspend ${SERVICE}`);

  const reset = addSettingOptions(
    program
      .command("master-reset <app-id> <service-id>")
      .description("stop all keys of a service at once, then have its provider make a fresh one"),
  ).action((appId: string, serviceId: string, options: SettingOptions, command: Command) =>
    withSession(command, deps, async (session) => {
      const { service } = await session.developer().masterReset({ appId, serviceId, ...settingsOf(options) });
      session.output.result(await shown(ServiceSchema, service));
    }),
  );
  example(reset, `omi master-reset ${SERVICE}`);
}
