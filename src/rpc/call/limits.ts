/** Bounds that keep one caller from using up the server. */
export type Limits = {
  /** Greatest size of one message, in bytes, before and after decompression. */
  readonly maxMessageBytes: number;
  /** Greatest size of all headers of a request together, in bytes. */
  readonly maxHeaderBytes: number;
  /** Open connections; further ones are closed at once. */
  readonly maxConnections: number;
  /** Concurrent calls on one HTTP/2 connection. */
  readonly maxStreamsPerConnection: number;
  /** Open calls of streaming RPCs on the whole server, each of which costs memory for as long as the caller likes. */
  readonly maxStreams: number;
  /** The same of one source: an IPv4 address, or the first 64 bits of an IPv6 address. */
  readonly maxStreamsPerPeer: number;
  /** Time for a unary call, in milliseconds, also where the caller asks for more or for none. Also the time for sending
   * the single request message of a server-streaming call, and for taking an answer once all of it is there, before it is cut. */
  readonly maxDeadlineMs: number;
  /** Time for a connection's first bytes (a TLS handshake too) and for the headers of an HTTP/1.1 request, in ms. */
  readonly firstBytesTimeoutMs: number;
  /** Time after which a connection without calls is closed, in milliseconds. */
  readonly idleTimeoutMs: number;
};

/** The limits of a server whose options say nothing else. */
export const defaultLimits: Limits = {
  maxMessageBytes: 256 * 1024,
  maxHeaderBytes: 16 * 1024,
  maxConnections: 4096,
  maxStreamsPerConnection: 256,
  maxStreams: 20_000,
  maxStreamsPerPeer: 15_000,
  maxDeadlineMs: 30_000,
  firstBytesTimeoutMs: 10_000,
  idleTimeoutMs: 120_000,
};
