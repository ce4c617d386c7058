import type { ClientHttp2Stream, Http2Session } from "node:http2";
import { Http2SessionManager } from "@connectrpc/connect-node";

/**
 * connect's keeper of the HTTP/2 connection to a server. It stops listening to a connection that it gives up while the error
 * of that is yet to come: when a server stops in good order just as the next call begins. An error that nobody listens to
 * ends the process, so here somebody always does.
 */
export class Http2Sessions extends Http2SessionManager {
  readonly #known = new WeakSet<Http2Session>();

  override async request(...args: Parameters<Http2SessionManager["request"]>): Promise<ClientHttp2Stream> {
    const stream = await super.request(...args);
    const { session } = stream;
    if (session !== undefined && !this.#known.has(session)) {
      this.#known.add(session);
      session.on("error", () => {});
    }
    return stream;
  }
}
