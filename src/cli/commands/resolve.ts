import type { Command } from "commander";
import { AppSchema } from "../../../gen/omi/registry/v1/app_pb.ts";
import { NamespaceSchema } from "../../../gen/omi/registry/v1/namespace_pb.ts";
import { RegistryAnswerSchema } from "../../../gen/omi/registry/v1/registry_pb.ts";
import { ServiceSchema } from "../../../gen/omi/registry/v1/service_pb.ts";
import { example } from "../arguments.ts";
import type { CliDeps } from "../deps.ts";
import { withSession } from "../session.ts";
import { shownAnswer } from "../shown.ts";

type ResolveOptions = { fresh?: boolean };

const APP_ID = "org.omiappreg.alice.business_app.7f8a9d";
const FRESH = ["--fresh", "have the answer made for this call, instead of one up to 60 s old"] as const;

/** `omi resolve`: reads the Service DNS, with the signed answer's times. */
export function addResolve(program: Command, deps: CliDeps): void {
  const group = program.command("resolve").description("read a registry's signed answers");

  const registry = group
    .command("registry")
    .description("what a registry says of itself")
    .option(...FRESH)
    .action((options: ResolveOptions, command: Command) =>
      withSession(command, deps, async (session) => {
        const answer = await session.registry().resolveRegistry(options);
        session.output.result(await shownAnswer(RegistryAnswerSchema, answer));
      }),
    );
  example(registry, "omi resolve registry --registry omiappreg.org");

  const namespace = group
    .command("namespace <namespace>")
    .description("a namespace and its Master key")
    .option(...FRESH)
    .action((name: string, options: ResolveOptions, command: Command) =>
      withSession(command, deps, async (session) => {
        const answer = await session.registry().resolveNamespace(name, options);
        session.output.result(await shownAnswer(NamespaceSchema, answer));
      }),
    );
  example(namespace, "omi resolve namespace alice --fresh");

  const app = group
    .command("app <app-id>")
    .description("an app, its Master key and its context")
    .option(...FRESH)
    .action((appId: string, options: ResolveOptions, command: Command) =>
      withSession(command, deps, async (session) => {
        const answer = await session.connections.registries.forApp(appId).resolveApp(appId, options);
        session.output.result(await shownAnswer(AppSchema, answer));
      }),
    );
  example(app, `omi resolve app ${APP_ID} --json`);

  const service = group
    .command("service <app-id> <service-id>")
    .description("a service: where it answers and with which keys")
    .option(...FRESH)
    .action((appId: string, serviceId: string, options: ResolveOptions, command: Command) =>
      withSession(command, deps, async (session) => {
        const client = session.connections.registries.forApp(appId);
        const answer = await client.resolveService(appId, serviceId, options);
        session.output.result(await shownAnswer(ServiceSchema, answer));
      }),
    );
  example(service, `omi resolve service ${APP_ID} cms-article-77 --fresh`);
}
