import { type Command, InvalidArgumentError } from "commander";
import {
  OperationalContextSchema,
  OperationalRole,
  OperationalRoleSchema,
} from "../../../gen/omi/registry/v1/app_pb.ts";
import { example, position, several } from "../arguments.ts";
import type { CliDeps } from "../deps.ts";
import { UsageError } from "../exit-code.ts";
import { withSession } from "../session.ts";
import { shown } from "../shown.ts";

type OperationalServiceOption = { readonly role: OperationalRole; readonly name: string; readonly url: string };

// The roles as they are typed: `billing` for OPERATIONAL_ROLE_BILLING.
const ROLES: ReadonlyMap<string, OperationalRole> = new Map(
  OperationalRoleSchema.values
    .filter(({ number }) => number !== OperationalRole.UNSPECIFIED)
    .map(({ localName, number }) => [localName.toLowerCase(), number as OperationalRole]),
);

/** `omi backbone`: sets and shows which services collect an app's usage, logs and metrics. */
export function addBackbone(program: Command, deps: CliDeps): void {
  const group = program.command("backbone").description("an app's billing, logging and other operational services");

  const set = group
    .command("set <app-id>")
    .description("replace the whole backbone of an app")
    .option("--service <role:name=url>", `an operational service (${[...ROLES.keys()].join(", ")})`, several(service))
    .option("--clear", "leave the app without a backbone")
    .option("--epoch <number>", "the config epoch that the change builds on; read if left out", position)
    .action(
      (appId: string, options: { service?: OperationalServiceOption[]; clear?: boolean; epoch?: bigint }, command) =>
        withSession(command, deps, async (session) => {
          const { service: services = [], clear = false, epoch } = options;
          if (clear !== (services.length === 0)) throw new UsageError("give either --service or --clear");
          const order = { appId, services, ...(epoch !== undefined && { expectedConfigEpoch: epoch }) };
          const { context } = await session.developer().updateBackbone(order);
          session.output.result(context === undefined ? {} : await shown(OperationalContextSchema, context));
        }),
    );
  example(
    set,
    "omi backbone set org.omiappreg.alice.business_app.7f8a9d \\",
    "    --service billing:invoices=https://billing.example --service logging:otel=https://otel.example",
  );

  const show = group
    .command("show <app-id>")
    .description("show an app's context: backbone, Auth keys and config epoch")
    .action((appId: string, _: object, command: Command) =>
      withSession(command, deps, async (session) => {
        const { value } = await session.connections.registries.forApp(appId).resolveApp(appId, { fresh: true });
        session.output.result(value.context === undefined ? {} : await shown(OperationalContextSchema, value.context));
      }),
    );
  example(show, "omi backbone show org.omiappreg.alice.business_app.7f8a9d");
}

function service(text: string): OperationalServiceOption {
  const [, roleName = "", name = "", url = ""] = /^([a-z]+):([^=]+)=(.+)$/.exec(text) ?? [];
  const role = ROLES.get(roleName);
  if (role === undefined) throw new InvalidArgumentError("role:name=url is expected.");
  return { role, name, url };
}
