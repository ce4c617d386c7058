import type { ServiceImpl } from "@connectrpc/connect";
import type { ArticleService } from "../../../../gen/omi/sample/article/v1/article_service_pb.ts";
import { callerOf } from "../../../agent/access.ts";
import { toBase64Url } from "../../../core/bytes.ts";
import { unixSeconds } from "../../../core/clock.ts";
import { Reason, Refusal } from "../../../core/refusal.ts";
import type { Articles } from "../articles.ts";

const ID_LENGTH = 16;

/** `ArticleService.CreateArticle`. */
export function createArticle({
  store,
  writes,
  clock,
  random,
  billArticle,
}: Articles): ServiceImpl<typeof ArticleService>["createArticle"] {
  return async ({ title, body }, context) => {
    const { tenant, claims } = callerOf(context.values);
    const articleId = toBase64Url(random(ID_LENGTH));
    const createdAt = unixSeconds(clock);
    const stored = await writes.run("article.create", () =>
      store.insert(tenant, { articleId, title, body, author: claims.sub, createdAt }),
    );
    // Ended since the token was checked.
    if (!stored) throw new Refusal(Reason.TENANT_UNKNOWN, "there is no such tenant here");
    await billArticle(tenant);
    return { article: { articleId, title, body, author: claims.sub, createdAt: BigInt(createdAt) } };
  };
}
