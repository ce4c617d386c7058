import type { ClientHttp2Stream, Http2Session } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { Http2SessionManager } from "@connectrpc/connect-node";

/**
 * connect's keeper of the HTTP/2 connection to a server, with two of its gaps closed:
 *
 * - It stops listening to a connection that it gives up while the error of that is yet to come: when a server stops in good
 *   order just as the next call begins. An error that nobody listens to ends the process, so here somebody always does.
 * - A server that takes leave (GOAWAY) and whose connection is reset then has its calls closed by Node without an error, and
 *   one may close a call as if all were well without having answered it. connect waits for an answer or an error, for ever
 *   where a call has no deadline, so here it is given one.
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
    failIfUnanswered(stream);
    return stream;
  }
}

function failIfUnanswered(stream: ClientHttp2Stream): void {
  let answered = false;
  stream.once("response", () => {
    answered = true;
  });
  stream.once("close", () => {
    // Without a listener it would end the process. There is none once the caller has left.
    if (answered || stream.listenerCount("error") === 0) return;
    stream.emit("error", new ConnectError("the server closed the call without an answer", Code.Unavailable));
  });
}
