import type { OutgoingHttpHeaders } from "node:http";
import type { Received } from "../http/small-body.ts";

/** An answer that leaves on the fast path. */
export type FastReply = {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Uint8Array | undefined;
  /** In gRPC. */
  readonly trailers?: OutgoingHttpHeaders;
};

/** The trailers of a gRPC answer that went well. */
export const GRPC_OK: OutgoingHttpHeaders = { "grpc-status": "0" };

/** Where an answer on the fast path goes. */
export type Outlet = {
  readonly http: "1.1" | "2.0";
  /** The other end of the connection. */
  readonly remoteAddress: string | undefined;
  readonly encrypted: boolean;
  /** True if nobody can be answered any more. */
  readonly isGone: boolean;
  /** Writes the answer, unless nobody is there any more. */
  write(reply: FastReply): void;
  /** Has connect answer, unless nobody is there any more. */
  slow(received: Received): void;
  /** Calls back when the exchange is over. `cut` is true if the answer did not reach its end. */
  whenClosed(closed: (cut: boolean) => void): void;
};
