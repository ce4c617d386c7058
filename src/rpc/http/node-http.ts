import type { IncomingMessage } from "node:http";
import type { Http2ServerRequest } from "node:http2";
import type { universalResponseToNodeResponse } from "@connectrpc/connect-node";

/** A request of either HTTP version. */
export type NodeServerRequest = IncomingMessage | Http2ServerRequest;

/** A response of either HTTP version. */
export type NodeServerResponse = Parameters<typeof universalResponseToNodeResponse>[1];
