import { create } from "@bufbuild/protobuf";
import { type Article, ArticleSchema } from "../../../gen/omi/sample/article/v1/article_service_pb.ts";
import type { Database, Migration } from "../../store/database.ts";
import type { TenantId } from "../../tenancy/tenants.ts";

/** The tables: a space for each tenant, and articles that are numbered within their space. */
export const articleMigrations: readonly Migration[] = [
  `
  CREATE TABLE spaces (
    space      INTEGER PRIMARY KEY AUTOINCREMENT,
    app_id     TEXT NOT NULL,
    service_id TEXT NOT NULL,
    open       INTEGER NOT NULL DEFAULT 1,
    UNIQUE (app_id, service_id)
  ) STRICT;
  CREATE TABLE articles (
    space      INTEGER NOT NULL REFERENCES spaces (space) ON DELETE CASCADE,
    position   INTEGER NOT NULL,
    article_id TEXT NOT NULL,
    title      TEXT NOT NULL,
    body       TEXT NOT NULL,
    author     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (space, position),
    UNIQUE (space, article_id)
  ) STRICT, WITHOUT ROWID;
  `,
];

/** What is stored of an article. */
export type StoredArticle = {
  readonly articleId: string;
  readonly title: string;
  readonly body: string;
  readonly author: string;
  /** Unix seconds. */
  readonly createdAt: number;
};

type Row = { article_id: string; title: string; body: string; author: string; created_at: number; position: number };

/** Articles of tenants. Nobody gets from one tenant's space to another's: every method names the tenant. */
export class ArticleStore {
  readonly #openSpace;
  readonly #closeSpace;
  readonly #deleteSpace;
  readonly #insert;
  readonly #get;
  readonly #list;

  constructor(db: Database) {
    const space = "(SELECT space FROM spaces WHERE app_id = ? AND service_id = ? AND open = 1)";
    this.#openSpace = db.prepare<[string, string]>(
      "INSERT INTO spaces (app_id, service_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
    );
    this.#closeSpace = db.prepare<[string, string]>("UPDATE spaces SET open = 0 WHERE app_id = ? AND service_id = ?");
    this.#deleteSpace = db.prepare<[string, string]>("DELETE FROM spaces WHERE app_id = ? AND service_id = ?");
    this.#insert = db.prepare<[string, string, string, string, number, string, string]>(
      `INSERT INTO articles (space, position, article_id, title, body, author, created_at)
         SELECT space, (SELECT coalesce(max(position), 0) + 1 FROM articles WHERE articles.space = spaces.space),
                ?, ?, ?, ?, ?
           FROM spaces WHERE app_id = ? AND service_id = ? AND open = 1`,
    );
    this.#get = db.prepare<[string, string, string], Row>(
      `SELECT * FROM articles WHERE space = ${space} AND article_id = ?`,
    );
    this.#list = db.prepare<[string, string, number, number], Row>(
      `SELECT * FROM articles WHERE space = ${space} AND position < ? ORDER BY position DESC LIMIT ?`,
    );
  }

  /** Makes a tenant's space, if there is none yet. */
  openSpace({ appId, serviceId }: TenantId): void {
    this.#openSpace.run(appId, serviceId);
  }

  /** Keeps a tenant's articles, out of everybody's reach. */
  closeSpace({ appId, serviceId }: TenantId): void {
    this.#closeSpace.run(appId, serviceId);
  }

  /** Deletes a tenant's articles. */
  deleteSpace({ appId, serviceId }: TenantId): void {
    this.#deleteSpace.run(appId, serviceId);
  }

  /**
   * Stores an article.
   *
   * @returns false if the tenant has no open space
   */
  insert({ appId, serviceId }: TenantId, article: StoredArticle): boolean {
    const { articleId, title, body, author, createdAt } = article;
    return this.#insert.run(articleId, title, body, author, createdAt, appId, serviceId).changes === 1;
  }

  get({ appId, serviceId }: TenantId, articleId: string): Article | undefined {
    const row = this.#get.get(appId, serviceId, articleId);
    return row && articleOf(row);
  }

  /**
   * The newest articles, or those that are older than the article with the ID `olderThan`.
   *
   * @returns undefined if there is no such article
   */
  list({ appId, serviceId }: TenantId, limit: number, olderThan?: string): Article[] | undefined {
    const before =
      olderThan === undefined ? Number.MAX_SAFE_INTEGER : this.#get.get(appId, serviceId, olderThan)?.position;
    if (before === undefined) return undefined;
    return this.#list.all(appId, serviceId, before, limit).map(articleOf);
  }
}

function articleOf(row: Row): Article {
  return create(ArticleSchema, {
    articleId: row.article_id,
    title: row.title,
    body: row.body,
    author: row.author,
    createdAt: BigInt(row.created_at),
  });
}
