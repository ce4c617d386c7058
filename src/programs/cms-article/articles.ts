import type { Clock } from "../../core/clock.ts";
import type { Random } from "../../core/random.ts";
import type { WriteQueue } from "../../store/write-queue.ts";
import type { TenantId } from "../../tenancy/tenants.ts";
import type { ArticleStore } from "./article-store.ts";

/** What the RPCs of the ArticleService work with. */
export type Articles = {
  readonly store: ArticleStore;
  readonly writes: WriteQueue;
  readonly clock: Clock;
  readonly random: Random;
  /** Tells the app's billing that a tenant stored an article. */
  readonly billArticle: (tenant: TenantId) => Promise<void>;
};
