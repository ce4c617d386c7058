/** How to reach NATS, and as whom. Files are read at every connect, so that credentials can be replaced while a part runs. */
export interface NatsSettings {
  /** `host:port`, `nats://host:port` or `tls://host:port`, at least one; tried in random order. */
  readonly servers: readonly string[];
  /** TLS is required if this is there. Paths of PEM files; without `caFile` the system's authorities count. */
  readonly tls?: {
    readonly caFile?: string;
    /** The certificate and key with which the client proves itself, where the server asks for it. */
    readonly certFile?: string;
    readonly keyFile?: string;
  };
  /** A NATS credentials file (JWT and seed); nobody but its owner may read it. */
  readonly credentialsFile?: string;
  /** A file with an NKey user seed (`SU…`); nobody but its owner may read it. */
  readonly nkeySeedFile?: string;
}

/** A stream of events. */
export interface StreamSettings {
  /** Its name; one made from the domain of the part that publishes if left out. */
  readonly name?: string;
  /** On how many servers of a cluster each event is kept: 1, 3 or 5. */
  readonly replicas: number;
  /** How long events are kept, in seconds. */
  readonly maxAgeSeconds: number;
  /** How many bytes are kept; the oldest events go first. */
  readonly maxBytes: number;
  /** For how long the server remembers the IDs of messages, in seconds: at most `maxAgeSeconds`. */
  readonly duplicateWindowSeconds: number;
}

/** A week in at most 1 GiB, on one server. */
export const defaultStreamSettings: StreamSettings = {
  replicas: 1,
  maxAgeSeconds: 7 * 24 * 3600,
  maxBytes: 1024 ** 3,
  duplicateWindowSeconds: 120,
};

/** Session events say something for as long as the longest token lives, and are small: one for each sign-out. */
export const defaultSessionStreamSettings: StreamSettings = {
  replicas: 1,
  maxAgeSeconds: 16 * 60,
  maxBytes: 256 * 1024 ** 2,
  duplicateWindowSeconds: 120,
};
