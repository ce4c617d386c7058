import type { Command } from "commander";
import { AppSchema } from "../../../gen/omi/registry/v1/app_pb.ts";
import { example } from "../arguments.ts";
import type { CliDeps } from "../deps.ts";
import { withSession } from "../session.ts";
import { shown } from "../shown.ts";

/** `omi app`: registers and shows an app. */
export function addApp(program: Command, deps: CliDeps): void {
  const group = program.command("app").description("your apps");

  const register = group
    .command("register <namespace> <slug>")
    .description("register an app in your namespace; the registry assigns its AppID")
    .requiredOption("--name <name>", "a name for people")
    .option("--description <text>", "what the app is, for people")
    .action((namespace: string, slug: string, options: { name: string; description?: string }, command: Command) =>
      withSession(command, deps, async (session) => {
        const { name: displayName, description = "" } = options;
        const order = { registry: session.registry().domain, namespace, slug, displayName, description };
        session.output.result(await shown(AppSchema, await session.developer().registerApp(order)));
      }),
    );
  example(register, 'omi app register alice business_app --name "Business App" --key master.key.json');

  const show = group
    .command("show <app-id>")
    .description("show an app as it is now, with its Master key and its context")
    .action((appId: string, _: object, command: Command) =>
      withSession(command, deps, async (session) => {
        const { value } = await session.connections.registries.forApp(appId).resolveApp(appId, { fresh: true });
        session.output.result(await shown(AppSchema, value));
      }),
    );
  example(show, "omi app show org.omiappreg.alice.business_app.7f8a9d");
}
