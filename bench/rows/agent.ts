import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { ArticleService, GetArticleRequestSchema } from "../../gen/omi/sample/article/v1/article_service_pb.ts";
import { meshDomains } from "../../src/operator/mesh.ts";
import { startChild } from "../child.ts";
import type { ArticlesChildOptions } from "../children/articles.ts";
import type { Contender, Row } from "../harness.ts";
import { newUserToken, startBenchMesh } from "../mesh.ts";
import { h2load } from "../tools.ts";

const path = "/omi.sample.article.v1.ArticleService/GetArticle";

/** What it costs a vendor that the agent verifies every caller. */
export const agentRows: readonly Row[] = [
  {
    name: "agent",
    what: "GetArticle of the sample service, its callers authenticated by the agent, warm, Connect POST, h2",
    against: "the same service without an agent, open to all",
    reach: 0.95,
    needs: ["h2load"],
    async prepare(setting) {
      const mesh = await startBenchMesh(setting);
      const { appId, developer, directory } = mesh;
      const serviceId = "articles";
      await developer.provisionService({
        appId,
        provider: meshDomains.articles,
        serviceType: "cms-article",
        serviceId,
      });
      const authorization = `Bearer ${await newUserToken(mesh, serviceId)}`;
      const options: ArticlesChildOptions = { databaseFile: join(directory, "open.sqlite") };
      const open = await startChild<{ url: string }>("articles", options, setting);

      async function contender(name: string, url: string): Promise<Contender> {
        const client = createClient(ArticleService, createConnectTransport({ baseUrl: url, httpVersion: "2" }));
        const { article } = await client.createArticle({ title: "Hello" }, { headers: { authorization } });
        const request = create(GetArticleRequestSchema, { articleId: article?.articleId ?? "" });
        const bodyFile = join(directory, `${name}.bin`);
        writeFileSync(bodyFile, toBinary(GetArticleRequestSchema, request));
        const headers = { "content-type": "application/proto", authorization };
        return { name, measure: (seconds) => h2load({ url: url + path, headers, bodyFile }, seconds) };
      }
      const both = [
        await contender("agent", mesh.urlOf(meshDomains.articles)),
        await contender("open", open.ready.url),
      ];
      // Services run for days: what is compiled while it runs is not what is measured.
      for (const { measure } of both) await measure(setting.quick ? 0.5 : 5);
      return both;
    },
  },
];
