import type { ServiceImpl } from "@connectrpc/connect";
import type { ArticleService } from "../../../../gen/omi/sample/article/v1/article_service_pb.ts";
import { callerOf } from "../../../agent/access.ts";
import { Reason, Refusal } from "../../../core/refusal.ts";
import type { Articles } from "../articles.ts";

const DEFAULT_PAGE_SIZE = 20;

/** `ArticleService.ListArticles`. A page token is the ID of the last article of the page before. */
export function listArticles({ store }: Articles): ServiceImpl<typeof ArticleService>["listArticles"] {
  return ({ pageSize, pageToken }, context) => {
    const { tenant } = callerOf(context.values);
    const limit = pageSize === 0 ? DEFAULT_PAGE_SIZE : pageSize;
    // One more than the page holds tells whether another one follows.
    const found = store.list(tenant, limit + 1, pageToken === "" ? undefined : pageToken);
    if (found === undefined) {
      throw new Refusal(Reason.CURSOR_INVALID, "not a page token of this list", { metadata: { field: "page_token" } });
    }
    const articles = found.slice(0, limit);
    const last = found.length > limit ? articles.at(-1) : undefined;
    return { articles, nextPageToken: last?.articleId ?? "" };
  };
}
