import type { ConnectRouter } from "@connectrpc/connect";
import { ArticleService } from "../../../gen/omi/sample/article/v1/article_service_pb.ts";
import { type Agent, type AgentOptions, createAgent } from "../../agent/agent.ts";
import { boundedRequests } from "../../rpc/handlers/bounds.ts";
import type { HttpRoute } from "../../rpc/http/http-routes.ts";
import { openDatabase } from "../../store/database.ts";
import { WriteQueue } from "../../store/write-queue.ts";
import type { TenantId } from "../../tenancy/tenants.ts";
import { ArticleStore, articleMigrations } from "./article-store.ts";
import { ARTICLE_SERVICE_TYPE, articleHooks } from "./hooks.ts";
import { createArticle } from "./rpc/create-article.ts";
import { getArticle } from "./rpc/get-article.ts";
import { listArticles } from "./rpc/list-articles.ts";

/** What {@link createCmsArticle} needs: what an agent does, but for what the sample decides itself. */
export type CmsArticleOptions = Omit<AgentOptions, "serviceTypes" | "hooks" | "databaseFile"> & {
  /** The SQLite file of the agent's state. */
  readonly agentDatabaseFile: string;
  /** The SQLite file of the articles. */
  readonly articleDatabaseFile: string;
};

/** A domain service as a vendor would build it: a content store that developers order through the agent. */
export type CmsArticle = {
  readonly agent: Agent;
  /** Serves ArticleService, and the agent's services. */
  routes(router: ConnectRouter): void;
  readonly httpRoutes: readonly HttpRoute[];
  /** See `Agent.start`. */
  start(): Promise<void>;
  /** See `Agent.stop`. */
  stop(): Promise<void>;
};

/** What the sample bills: articles that were stored. */
const ARTICLES_METER = "articles_stored";

/** Makes the sample service. */
export function createCmsArticle(options: CmsArticleOptions): CmsArticle {
  const { agentDatabaseFile, articleDatabaseFile, clock, random, logger } = options;
  const db = openDatabase(articleDatabaseFile, articleMigrations);
  // What is deleted is overwritten, not only unlinked: wiped articles must not stay in the file.
  db.pragma("secure_delete = ON");
  const writes = new WriteQueue(db);
  const articles = { store: new ArticleStore(db), writes, clock, random, billArticle };
  const agent = createAgent({
    ...options,
    databaseFile: agentDatabaseFile,
    serviceTypes: [ARTICLE_SERVICE_TYPE],
    // Nor must they stay in the write-ahead log.
    hooks: articleHooks(articles, () => void db.pragma("wal_checkpoint(TRUNCATE)")),
  });

  // Article and report are in two files. What a crash between them cuts off is not billed, and the article is there: so an
  // article never waits for its bill.
  async function billArticle(tenant: TenantId): Promise<void> {
    if (options.connections === undefined) return;
    try {
      await agent.reportUsage(tenant, [{ meter: ARTICLES_METER, amount: 1n }]);
    } catch (error) {
      logger.warn({ ...tenant, err: error }, "an article was not billed");
    }
  }

  return {
    agent,
    httpRoutes: agent.httpRoutes,
    routes(router) {
      agent.routes(router);
      router.service(
        ArticleService,
        {
          createArticle: createArticle(articles),
          getArticle: getArticle(articles),
          listArticles: listArticles(articles),
        },
        { interceptors: [agent.interceptor, boundedRequests()] },
      );
    },
    start: () => agent.start(),
    async stop() {
      await agent.stop();
      writes.close();
      db.close();
    },
  };
}
