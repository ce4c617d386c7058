import type { ServiceImpl } from "@connectrpc/connect";
import type { ArticleService } from "../../../../gen/omi/sample/article/v1/article_service_pb.ts";
import { callerOf } from "../../../agent/access.ts";
import { Reason, Refusal } from "../../../core/refusal.ts";
import type { Articles } from "../articles.ts";

/** `ArticleService.GetArticle`. */
export function getArticle({ store }: Articles): ServiceImpl<typeof ArticleService>["getArticle"] {
  return ({ articleId }, context) => {
    const article = store.get(callerOf(context.values).tenant, articleId);
    if (article === undefined) {
      throw new Refusal(Reason.NOT_FOUND, "no such article", { metadata: { field: "article_id" } });
    }
    return { article };
  };
}
