import { ArticleService } from "../../gen/omi/sample/article/v1/article_service_pb.ts";
import { accessInterceptor } from "../../src/agent/access.ts";
import type { Caller } from "../../src/agent/authentication.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createLogger } from "../../src/core/log.ts";
import { systemRandom } from "../../src/core/random.ts";
import { ArticleStore, articleMigrations } from "../../src/programs/cms-article/article-store.ts";
import { createArticle } from "../../src/programs/cms-article/rpc/create-article.ts";
import { getArticle } from "../../src/programs/cms-article/rpc/get-article.ts";
import { listArticles } from "../../src/programs/cms-article/rpc/list-articles.ts";
import { boundedRequests } from "../../src/rpc/handlers/bounds.ts";
import { createServer } from "../../src/rpc/server.ts";
import { openDatabase } from "../../src/store/database.ts";
import { WriteQueue } from "../../src/store/write-queue.ts";
import { childOptions, serveLines } from "./lines.ts";

/** The sample service without an agent: whoever calls is taken for the same user, whatever the headers say. */
export interface ArticlesChildOptions {
  readonly databaseFile: string;
}

const { databaseFile } = childOptions<ArticlesChildOptions>();
const logger = createLogger({ level: "warn", component: "cms-article", destination: process.stderr });
const db = openDatabase(databaseFile, articleMigrations);
const writes = new WriteQueue(db);
const store = new ArticleStore(db);
const tenant = { appId: "test.omi-registry.bench.shop.0a1b2c", serviceId: "articles" };
store.openSpace(tenant);
const articles = { store, writes, clock: systemClock, random: systemRandom, billArticle: async () => {} };
const caller: Caller = {
  tenant,
  claims: {
    ...{ iss: "https://auth.test", sub: "user:bob", aud: `${tenant.appId}/articles`, app_id: tenant.appId },
    ...{ token_use: "user", iat: 1, exp: 2, jti: "1" },
  },
  callingService: undefined,
};
const authenticate = async () => caller;
const server = createServer({
  ...{ host: "127.0.0.1", port: 0, development: true, cors: { allowedOrigins: ["*"] }, logger },
  routes(router) {
    router.service(
      ArticleService,
      {
        createArticle: createArticle(articles),
        getArticle: getArticle(articles),
        listArticles: listArticles(articles),
      },
      { interceptors: [accessInterceptor({ authenticate, authenticateService: authenticate }), boundedRequests()] },
    );
  },
});
await server.listen();
await serveLines(
  { url: server.address.url },
  () => ({}),
  async () => {
    await server.close(0);
    db.close();
  },
);
