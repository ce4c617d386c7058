import { readdirSync, readFileSync } from "node:fs";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import BetterSqlite3 from "better-sqlite3";
import { expect, onTestFinished, test } from "vitest";
import { DataHandling, ProvisionServiceSchema } from "../../gen/omi/agent/v1/agent_pb.ts";
import { AgentService, TenancyService } from "../../gen/omi/agent/v1/agent_service_pb.ts";
import { ArticleService } from "../../gen/omi/sample/article/v1/article_service_pb.ts";
import { Reason } from "../../src/core/refusal.ts";
import { createViews } from "../../src/directory/views.ts";
import { createCmsArticle } from "../../src/programs/cms-article/cms-article.ts";
import { refusals } from "../../src/rpc/client/client.ts";
import { createServer } from "../../src/rpc/server.ts";
import { tokenFor } from "../agent/provisioned.ts";
import { announcementOf, registerTestApp, type TestApp } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testBytes, testKey } from "../support/keys.ts";
import { providers, startRegistry } from "../support/registry.ts";
import { logger, outcomeOf, signOrder, terminateOf, wayTo } from "../tenancy/support.ts";

/** A registry, the sample service, and ways to order and use it. */
async function startMesh() {
  const registry = await startRegistry();
  const { clock } = registry;
  const folder = temporaryFolder();
  const registries = wayTo(registry);
  const articleDatabaseFile = `${folder}/articles.db`;
  const cms = createCmsArticle({
    provider: { ...providers.article, baseUrl: `http://${providers.article.domain}` },
    agentDatabaseFile: `${folder}/agent.db`,
    articleDatabaseFile,
    registries,
    views: createViews({ registries, clock }),
    clock,
    random: testBytes,
    logger,
    endpointUrl: () => `http://${providers.article.domain}`,
  });
  const server = createServer({ host: "127.0.0.1", port: 0, development: true, logger, routes: cms.routes });
  await cms.start();
  await server.listen();
  onTestFinished(async () => {
    await server.close(100);
    await cms.stop();
  });
  const baseUrl = server.address.url;
  const transport = refusals(createConnectTransport({ baseUrl, httpVersion: "2" }), Reason.INTERNAL);

  async function newApp(): Promise<TestApp> {
    const app = await registerTestApp(registry);
    await registry.registry.announceAuth({ statement: announcementOf(clock, app) });
    return app;
  }

  function order(app: TestApp, serviceId: string, fields: object = {}) {
    const message = {
      appId: app.appId,
      targetProvider: providers.article.domain,
      providerKeyId: providers.article.key.keyId,
      serviceType: "cms-article",
      serviceId,
      expiresAt: BigInt(clock.seconds() + 3600),
      ...fields,
    };
    const statement = signOrder(registry, ProvisionServiceSchema, message, app.master);
    return createClient(AgentService, transport).provisionService({ statement });
  }

  /** The articles of a tenant, as one of its users sees them. */
  function articlesOf(app: TestApp, serviceId: string, sub = "user:alice") {
    const service = { app, serviceId, key: testKey("nobody") };
    return createClient(
      ArticleService,
      withToken(transport, () => tokenFor(registry, service, { sub })),
    );
  }

  async function newTenant(serviceId = "cms-article-77") {
    const app = await newApp();
    await order(app, serviceId);
    return { app, serviceId, articles: articlesOf(app, serviceId) };
  }

  async function terminate(app: TestApp, serviceId: string, dataHandling: DataHandling) {
    const service = { app, serviceId, key: testKey("nobody") };
    await createClient(TenancyService, transport).terminateService({
      statement: terminateOf(registry, service, { dataHandling }),
    });
  }

  function titlesInFile(): unknown[] {
    const db = new BetterSqlite3(articleDatabaseFile, { readonly: true });
    try {
      return db.prepare("SELECT title FROM articles").pluck().all();
    } finally {
      db.close();
    }
  }

  function isOnDisk(text: string): boolean {
    return readdirSync(folder).some((name) => readFileSync(`${folder}/${name}`).includes(text));
  }

  return { registry, transport, order, newApp, newTenant, articlesOf, terminate, titlesInFile, isOnDisk };
}

/** A transport that shows a new token with every call. */
function withToken(transport: Transport, token: () => string): Transport {
  return {
    ...transport,
    unary: (method, signal, timeoutMs, header, ...rest) => {
      const withBearer = new Headers(header);
      withBearer.set("authorization", `Bearer ${token()}`);
      return transport.unary(method, signal, timeoutMs, withBearer, ...rest);
    },
  };
}

test("an article is stored under its author and read again", async () => {
  const { newTenant, articlesOf, registry } = await startMesh();
  const { app, serviceId, articles } = await newTenant();
  const { article } = await articles.createArticle({ title: "Hello", body: "World" });
  expect(article).toMatchObject({ title: "Hello", body: "World", author: "user:alice" });
  expect(article?.createdAt).toBe(BigInt(registry.clock.seconds()));
  const bob = articlesOf(app, serviceId, "user:bob");
  expect((await bob.getArticle({ articleId: article?.articleId ?? "" })).article).toEqual(article);
});

test("articles are listed by pages, the newest first", async () => {
  const { newTenant } = await startMesh();
  const { articles } = await newTenant();
  for (let i = 1; i <= 5; i++) await articles.createArticle({ title: `${i}` });
  const titles: string[][] = [];
  let pageToken = "";
  do {
    const page = await articles.listArticles({ pageSize: 2, pageToken });
    titles.push(page.articles.map(({ title }) => title));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  expect(titles).toEqual([["5", "4"], ["3", "2"], ["1"]]);
  expect((await articles.listArticles({})).articles).toHaveLength(5);
});

test("a page holds 20 articles unless asked for less", async () => {
  const { newTenant } = await startMesh();
  const { articles } = await newTenant();
  await Promise.all(Array.from({ length: 21 }, (_, i) => articles.createArticle({ title: `${i}` })));
  const first = await articles.listArticles({});
  expect(first.articles).toHaveLength(20);
  const second = await articles.listArticles({ pageToken: first.nextPageToken });
  expect(second.articles).toHaveLength(1);
  expect(second.nextPageToken).toBe("");
});

test("no tenant gets to another's articles", async () => {
  const { newTenant } = await startMesh();
  const one = await newTenant();
  const two = await newTenant();
  const { article } = await one.articles.createArticle({ title: "Secret" });
  const articleId = article?.articleId ?? "";
  expect(await outcomeOf(two.articles.getArticle({ articleId }))).toBe("NOT_FOUND article_id");
  expect(await outcomeOf(two.articles.listArticles({ pageToken: articleId }))).toBe("CURSOR_INVALID page_token");
  expect((await two.articles.listArticles({})).articles).toEqual([]);
});

test.each([
  ["an unknown article", "getArticle", { articleId: "nothing" }, "NOT_FOUND article_id"],
  ["no article", "getArticle", {}, "FIELD_INVALID article_id"],
  ["no title", "createArticle", {}, "FIELD_INVALID title"],
  ["a title that is too long", "createArticle", { title: "x".repeat(257) }, "FIELD_INVALID title"],
  ["a page that is too large", "listArticles", { pageSize: 101 }, "FIELD_INVALID page_size"],
  ["a page token of nobody", "listArticles", { pageToken: "nothing" }, "CURSOR_INVALID page_token"],
] as const)("refused: %s", async (_name, method, request, outcome) => {
  const { newTenant } = await startMesh();
  const { articles } = await newTenant();
  expect(await outcomeOf(articles[method](request))).toBe(outcome);
});

test("without a token for the tenant nobody is let in", async () => {
  const { transport, newTenant, articlesOf } = await startMesh();
  const { app } = await newTenant();
  const anonymous = createClient(ArticleService, transport);
  expect(await outcomeOf(anonymous.listArticles({}))).toBe("TOKEN_MISSING");
  expect(await outcomeOf(articlesOf(app, "another-one").listArticles({}))).toBe("TENANT_UNKNOWN");
  const invalid = createClient(
    ArticleService,
    withToken(transport, () => "a.b.c"),
  );
  expect(await outcomeOf(invalid.listArticles({}))).toBe("TOKEN_INVALID");
});

test.each([
  ["service_tier", { serviceTier: "gold" }],
  ["region", { region: "the-moon" }],
  ["storage_limit_gb", { storageLimitGb: 1001 }],
  ["parameters", { parameters: [{ name: "theme", value: "dark" }] }],
])("an order that asks for another %s than is on offer is refused", async (field, fields) => {
  const { newApp, order } = await startMesh();
  expect(await outcomeOf(order(await newApp(), "cms-article-77", fields))).toBe(`PROVIDER_REFUSED ${field}`);
});

test("an order of what is on offer is taken", async () => {
  const { newApp, order } = await startMesh();
  const fields = { serviceTier: "pro_cluster", region: "eu-central-1", storageLimitGb: 500 };
  expect(await outcomeOf(order(await newApp(), "cms-article-77", fields))).toBe("ok");
});

test.each([
  ["WIPE deletes the tenant's articles", DataHandling.WIPE, ["kept"]],
  ["RETAIN keeps them, out of reach", DataHandling.RETAIN, ["ended", "kept"]],
])("%s, and nobody else's", async (_name, dataHandling, left) => {
  const { newTenant, terminate, titlesInFile } = await startMesh();
  const ended = await newTenant();
  const kept = await newTenant();
  await ended.articles.createArticle({ title: "ended" });
  await kept.articles.createArticle({ title: "kept" });
  await terminate(ended.app, ended.serviceId, dataHandling);
  expect(titlesInFile().sort()).toEqual(left);
  expect(await outcomeOf(ended.articles.listArticles({}))).toBe("TENANT_UNKNOWN");
  expect((await kept.articles.listArticles({})).articles).toHaveLength(1);
});

test("WIPE leaves no trace on disk, before the receipt is given", async () => {
  const { newTenant, terminate, isOnDisk } = await startMesh();
  const { app, serviceId, articles } = await newTenant();
  await articles.createArticle({ title: "Confidential", body: "x".repeat(20_000) });
  expect(isOnDisk("Confidential")).toBe(true);
  await terminate(app, serviceId, DataHandling.WIPE);
  expect(isOnDisk("Confidential")).toBe(false);
});
