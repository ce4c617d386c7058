import { create } from "@bufbuild/protobuf";
import { type ConnectRouter, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { expect, onTestFinished, test } from "vitest";
import { AgentService } from "../../gen/omi/agent/v1/agent_service_pb.ts";
import { ResolveAppResponseSchema, ResolverService } from "../../gen/omi/registry/v1/resolver_service_pb.ts";
import { ArticleService } from "../../gen/omi/sample/article/v1/article_service_pb.ts";
import { callerOf } from "../../src/agent/access.ts";
import { Reason } from "../../src/core/refusal.ts";
import { refusals } from "../../src/rpc/client/client.ts";
import { createServer } from "../../src/rpc/server.ts";
import { logger, outcomeOf } from "../tenancy/support.ts";
import { startProvisioned, tokenFor } from "./provisioned.ts";

test("each RPC asks for the access that its contract states", async () => {
  const { registry, running, service } = await startProvisioned();
  const options = { interceptors: [running.agent.interceptor] };
  const transport = await serve((router) => {
    router.service(
      ArticleService,
      { listArticles: (_request, { values }) => ({ nextPageToken: callerOf(values).claims.sub }) },
      options,
    );
    router.service(ResolverService, { resolveApp: () => create(ResolveAppResponseSchema) }, options);
    router.service(AgentService, { provisionService: () => ({}) }, options);
  });
  const headers = { authorization: `Bearer ${tokenFor(registry, service)}` };

  const articles = createClient(ArticleService, transport);
  expect((await articles.listArticles({}, { headers })).nextPageToken).toBe("user:alice");
  expect(await outcomeOf(articles.listArticles({}))).toBe("TOKEN_MISSING");
  expect(await outcomeOf(createClient(ResolverService, transport).resolveApp({}))).toBe("ok");
  const agent = createClient(AgentService, transport);
  expect(await outcomeOf(agent.provisionService({}, { headers }))).toBe("UNIMPLEMENTED");
});

test("a handler that is not behind the interceptor has no caller", async () => {
  const transport = await serve((router) => {
    router.service(ArticleService, {
      listArticles: (_request, { values }) => ({ nextPageToken: callerOf(values).claims.sub }),
    });
  });
  expect(await outcomeOf(createClient(ArticleService, transport).listArticles({}))).toBe("INTERNAL");
});

/** Serves routes until the test is over. */
async function serve(routes: (router: ConnectRouter) => void) {
  const server = createServer({ host: "127.0.0.1", port: 0, development: true, logger, routes });
  await server.listen();
  onTestFinished(() => server.close(100));
  return refusals(createConnectTransport({ baseUrl: server.address.url, httpVersion: "2" }), Reason.INTERNAL);
}
