import type { Command } from "commander";
import { AppSchema } from "../../../gen/omi/registry/v1/app_pb.ts";
import { example, wholeNumber } from "../arguments.ts";
import type { CliDeps } from "../deps.ts";
import { withSession } from "../session.ts";
import { shown } from "../shown.ts";

/** `omi auth`: gives an app its Auth Provider. */
export function addAuth(program: Command, deps: CliDeps): void {
  const group = program.command("auth").description("an app's Auth Provider");

  const provision = group
    .command("provision <app-id>")
    .description("have a provider make the app's keys, check them, and announce them at the registry")
    .requiredOption("--provider <domain>", "the Auth Provider")
    .option(
      "--keep-previous <seconds>",
      "how long tokens of another provider that was there before stay valid, at most 86400; not at all if left out",
      wholeNumber,
    )
    .action((appId: string, options: { provider: string; keepPrevious?: number }, command: Command) =>
      withSession(command, deps, async (session) => {
        const { provider, keepPrevious: keepPreviousAuthKeySeconds = 0 } = options;
        const app = await session.developer().provisionAuth({ appId, provider, keepPreviousAuthKeySeconds });
        session.output.result(await shown(AppSchema, app));
      }),
    );
  example(provision, "omi auth provision org.omiappreg.alice.business_app.7f8a9d --provider auth.example");
}
