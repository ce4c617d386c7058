import type { Command } from "commander";
import { NamespaceSchema, NamespaceStatus } from "../../../gen/omi/registry/v1/namespace_pb.ts";
import { activateNamespace } from "../../developer/namespaces.ts";
import { example, publicKey, several } from "../arguments.ts";
import type { CliDeps } from "../deps.ts";
import { withSession } from "../session.ts";
import { shown } from "../shown.ts";

type ClaimOptions = { guardian?: Uint8Array[]; email?: string; website?: string; organization?: string };

/** `omi namespace`: claims, activates and shows a namespace. */
export function addNamespace(program: Command, deps: CliDeps): void {
  const group = program.command("namespace").description("your namespace at a registry");

  const claim = group
    .command("claim <namespace>")
    .description("claim a namespace for your Master key")
    .option("--guardian <public key>", "a Guardian's public key, base64url; repeat it for several", several(publicKey))
    .option("--email <address>", "where the registry sends the activation code; kept privately")
    .option("--website <url>", "your web site; public")
    .option("--organization <name>", "your organisation; public")
    .action((namespace: string, options: ClaimOptions, command: Command) =>
      withSession(command, deps, async (session) => {
        const { guardian, email, website, organization } = options;
        const claimed = await session.developer().claimNamespace({
          registry: session.registry().domain,
          namespace,
          ...(guardian !== undefined && { guardians: guardian }),
          ...(email !== undefined && { contactEmail: email }),
          ...(website !== undefined && { website }),
          ...(organization !== undefined && { organization }),
        });
        session.output.result(await shown(NamespaceSchema, claimed));
        if (claimed.status === NamespaceStatus.PENDING) {
          session.output.note(`Activate it with the code that was sent: omi namespace activate ${namespace} <code>`);
          session.output.note(`If none arrives: omi namespace resend-code ${namespace}`);
        }
      }),
    );
  example(claim, "omi namespace claim alice --key master.key.json --email alice@example.org");

  const activate = group
    .command("activate <namespace> <code>")
    .description("activate a claimed namespace with the code that was sent to its contact")
    .action((namespace: string, code: string, _: object, command: Command) =>
      withSession(command, deps, async (session) => {
        const order = { registry: session.registry().domain, namespace, code };
        session.output.result(await shown(NamespaceSchema, await activateNamespace(session, order)));
      }),
    );
  example(activate, "omi namespace activate alice 493027");

  const resend = group
    .command("resend-code <namespace>")
    .description("have the registry send another activation code to the contact; older ones no longer count")
    .action((namespace: string, _: object, command: Command) =>
      withSession(command, deps, async (session) => {
        const order = { registry: session.registry().domain, namespace };
        const value = await session.developer().resendActivationCode(order);
        session.output.result(await shown(NamespaceSchema, value));
      }),
    );
  example(resend, "omi namespace resend-code alice --key master.key.json");

  const show = group
    .command("show <namespace>")
    .description("show a namespace as it is now")
    .action((namespace: string, _: object, command: Command) =>
      withSession(command, deps, async (session) => {
        const { value } = await session.registry().resolveNamespace(namespace, { fresh: true });
        session.output.result(await shown(NamespaceSchema, value));
      }),
    );
  example(show, "omi namespace show alice");
}
