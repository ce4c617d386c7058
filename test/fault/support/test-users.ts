import { createClient, type Interceptor } from "@connectrpc/connect";
import { UserService } from "../../../gen/omi/auth/v1/auth_service_pb.ts";
import { ArticleService } from "../../../gen/omi/sample/article/v1/article_service_pb.ts";
import { isRefusal, Reason } from "../../../src/core/refusal.ts";
import type { Connections } from "../../../src/directory/connections.ts";
import { meshDomains } from "../../../src/operator/mesh.ts";
import { createTransport } from "../../../src/rpc/client/client.ts";
import type { ServiceStory } from "./story.ts";
import { milliseconds } from "./wait.ts";

const PASSWORD = "correct horse battery staple";
const GIVE_UP_MS = 180_000;
const PAUSE_MS = 200;

/** So many sign-ups come from one address before the Auth Provider slows them down. */
const MAX_SIGN_UPS = 60;

/** The users of all apps, who live on one machine. */
export class TestUsers {
  readonly #connections: Connections;
  #signUps = 0;

  constructor(connections: Connections) {
    this.#connections = connections;
  }

  /** Makes an account. Returns its name; undefined if there are enough already. */
  async signUp(appId: string): Promise<string | undefined> {
    if (this.#signUps >= MAX_SIGN_UPS) return undefined;
    const userName = `user-${++this.#signUps}`;
    await insist(async () => {
      try {
        await (await this.#users()).signUp({ appId, userName, password: PASSWORD });
      } catch (error) {
        // Made by an attempt that was not answered.
        if (!isRefusal(error, Reason.USER_EXISTS)) throw error;
      }
    });
    return userName;
  }

  /** Signs in and has an article stored. Returns its ID. */
  async writeArticle(
    appId: string,
    userName: string,
    service: Pick<ServiceStory, "serviceId" | "provider">,
  ): Promise<string> {
    return insist(async () => (await this.writer(appId, userName, service))());
  }

  /** Signs in. Returns what has an article stored, and tells its ID. */
  async writer(
    appId: string,
    userName: string,
    { serviceId, provider }: Pick<ServiceStory, "serviceId" | "provider">,
  ): Promise<() => Promise<string>> {
    const { tokens } = await (await this.#users()).signIn({ appId, userName, password: PASSWORD, serviceId });
    const client = createClient(ArticleService, this.#transport(provider, tokens?.accessToken ?? ""));
    return async () => {
      const { article } = await client.createArticle({ title: `by ${userName}`, body: "…" });
      if (article === undefined) throw new Error("stored, but not told as what");
      return article.articleId;
    };
  }

  async #users() {
    const transport = await this.#connections.transportFor(meshDomains.auth, Reason.REGISTRY_UNAVAILABLE);
    return createClient(UserService, transport);
  }

  #transport(domain: string, token: string) {
    const withToken: Interceptor = (next) => (request) => {
      request.header.set("authorization", `Bearer ${token}`);
      return next(request);
    };
    const { dialer } = this.#connections;
    const unavailable = Reason.REGISTRY_UNAVAILABLE;
    const baseUrl = `http://${domain}`;
    return createTransport({ baseUrl, dialer, unavailable, httpVersion: "1.1", interceptors: [withToken] });
  }
}

/**
 * Tries until it works. Beside processes that are gone, parts may go by what they knew of the app a second ago, and refuse
 * what is allowed by now.
 */
async function insist<T>(attempt: () => Promise<T>): Promise<T> {
  const giveUpAt = Date.now() + GIVE_UP_MS;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!isRefusal(error) || error.reason === Reason.INTERNAL || Date.now() > giveUpAt) throw error;
    }
    await milliseconds(PAUSE_MS);
  }
}
