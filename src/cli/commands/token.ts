import type { Command } from "commander";
import { TokenSetSchema } from "../../../gen/omi/auth/v1/auth_service_pb.ts";
import { isoTime } from "../../developer/readable.ts";
import { signInUser, signUpUser } from "../../developer/users.ts";
import { verifyAccessToken } from "../../token/access-token.ts";
import { example } from "../arguments.ts";
import type { CliDeps } from "../deps.ts";
import { readSecret } from "../secrets.ts";
import { withSession } from "../session.ts";
import { shown } from "../shown.ts";
import { printable } from "../text.ts";

type UserOptions = { user: string; passwordFile?: string };

const APP_ID = "org.omiappreg.alice.business_app.7f8a9d";
const PASSWORD = { variable: "OMI_PASSWORD", option: "--password-file" };
const TOKEN = { variable: "OMI_TOKEN", option: "--token-file" };

/** `omi token`: what a user of an app does, and what a service does with the result. */
export function addToken(program: Command, deps: CliDeps): void {
  const group = program.command("token").description("users of an app and their access tokens");

  const signUp = addUserOptions(group.command("sign-up <app-id>"))
    .description("make a user account at an app's Auth Provider")
    .action((appId: string, { user: userName, passwordFile }: UserOptions, command: Command) =>
      withSession(command, deps, async ({ output, connections }) => {
        const password = await readSecret(deps, passwordFile, PASSWORD);
        output.result({ subject: await signUpUser(connections, { appId, userName, password }) });
      }),
    );
  example(signUp, `omi token sign-up ${APP_ID} --user bob --password-file bob.txt`);

  const signIn = addUserOptions(group.command("sign-in <app-id> <service-id>"))
    .description("sign a user in for one service; prints the access token, with --json all tokens")
    .action((appId: string, serviceId: string, { user: userName, passwordFile }: UserOptions, command: Command) =>
      withSession(command, deps, async ({ output, connections }) => {
        const password = await readSecret(deps, passwordFile, PASSWORD);
        const tokens = await signInUser(connections, { appId, serviceId, userName, password });
        output.result(await shown(TokenSetSchema, tokens), () => `${printable(tokens.accessToken)}\n`);
        output.note(`It expires at ${isoTime(tokens.accessTokenExpiresAt)}.`);
      }),
    );
  example(signIn, `OMI_PASSWORD=… omi token sign-in ${APP_ID} cms-article-77 --user bob > token.txt`);

  const verify = group
    .command("verify <app-id> <service-id>")
    .description("verify an access token as the service does that it is for, with the app's keys from the registry")
    .option("--token-file <path>", "the token, - for standard input; OMI_TOKEN if left out")
    .option("--service-token", "a token of a service, instead of one of a user")
    .action(
      (appId: string, serviceId: string, options: { tokenFile?: string; serviceToken?: boolean }, command: Command) =>
        withSession(command, deps, async ({ output, connections, now }) => {
          const token = await readSecret(deps, options.tokenFile, TOKEN);
          const { value: app } = await connections.registries.forApp(appId).resolveApp(appId, { fresh: true });
          const claims = await verifyAccessToken(token.trim(), {
            keys: app.context?.authKeys ?? [],
            issuer: app.context?.authProviderUrl ?? "",
            audience: `${appId}/${serviceId}`,
            use: options.serviceToken === true ? "service" : "user",
            now: now(),
          });
          output.result({ ...claims });
        }),
    );
  example(verify, `omi token verify ${APP_ID} cms-article-77 --token-file token.txt`);
}

function addUserOptions(command: Command): Command {
  return command
    .requiredOption("--user <name>", "the user's name or e-mail address")
    .option("--password-file <path>", "the password, - for standard input; OMI_PASSWORD if left out");
}
