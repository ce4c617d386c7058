import dns from "node:dns/promises";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import tls from "node:tls";
import { type Clock, systemClock } from "../../core/clock.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { type HostsTable, parseHosts, type Target } from "./hosts.ts";
import { isPublicAddress } from "./public-address.ts";

/** How connections to other parties are made. */
export type DialerOptions = {
  /** Addresses of hosts that DNS does not know, or not like this. */
  readonly hosts?: HostsTable | undefined;
  /** Hosts that may be on a private network, and on another port than 443. */
  readonly allowPrivate?: ((host: string) => boolean) | undefined;
  /** Hosts that may be called without TLS, and on another port than 443. */
  readonly allowPlain?: ((host: string) => boolean) | undefined;
  /** Certificates (PEM) of the authorities to trust instead of Node's. */
  readonly ca?: string | Buffer | undefined;
  /** All addresses of a name; the operating system's resolver if absent. */
  readonly lookup?: ((host: string) => Promise<readonly Address[]>) | undefined;
  /** Time for DNS, TCP and TLS together, in milliseconds; 5,000 if absent. */
  readonly connectTimeoutMs?: number | undefined;
  readonly clock?: Clock | undefined;
};

type Address = { readonly address: string; readonly family: number };

/**
 * Connects to hosts that strangers may have chosen. A refused address appears as the socket's error: a Refusal with
 * ADDRESS_NOT_ALLOWED.
 */
export type Dialer = {
  /** For `node:http`; keeps connections alive, a bounded number. */
  readonly http: http.Agent;
  /** For `node:https`; keeps connections alive, a bounded number. */
  readonly https: https.Agent;
  /** A `createConnection` for `http2.connect`. */
  connectHttp2(url: URL): net.Socket;
  /** Ends all connections and makes no more: what is called afterwards fails at once, and keeps no process from ending. */
  close(): void;
};

const AGENT_OPTIONS = { keepAlive: true, maxSockets: 32, maxTotalSockets: 512, maxFreeSockets: 8, timeout: 60_000 };

/**
 * Creates a dialler. Unless the hosts table or the two `allow` functions say otherwise, it connects only with TLS, to
 * port 443, at an address of the public Internet. The address is checked where the connection is made, after DNS, so
 * that a name cannot answer the check with one address and the connection with another.
 *
 * @throws ConfigError if the hosts table has mistakes
 */
export function createDialer(options: DialerOptions): Dialer {
  const { allowPrivate = never, allowPlain = never, lookup = resolve, ca, clock = systemClock } = options;
  const { connectTimeoutMs = 5_000 } = options;
  const mapped = parseHosts(options.hosts ?? {});
  const open = new Set<net.Socket>();
  let isClosed = false;

  /** Where to dial, and whether DNS may answer with any address there. Throws ADDRESS_NOT_ALLOWED. */
  function target(host: string, port: number, secure: boolean): Target & { guarded: boolean } {
    if (isClosed) throw Object.assign(new Error("nobody is called any more"), { code: "ECONNREFUSED" });
    const isPrivate = allowPrivate(host);
    const isPlain = allowPlain(host);
    if (!secure && !isPlain) throw notAllowed(`${host} may not be called without TLS`);
    const entry = mapped(host);
    if (entry !== undefined) return { ...entry, guarded: false };
    if (port !== 443 && !isPrivate && !isPlain) throw notAllowed(`port ${port} of ${host} may not be called`);
    if (net.isIP(host) !== 0 && !isPrivate && !isPublicAddress(host)) throw notPublic(host);
    return { host, port, guarded: !isPrivate };
  }

  function lookupWith(allowed: (address: string) => boolean): net.LookupFunction {
    return (host, { all }, callback) => {
      lookup(host).then(
        (found) => {
          const [first, ...rest] = found.filter(({ address }) => allowed(address));
          if (first === undefined) callback(notPublic(host), "");
          else if (all === true) callback(null, [first, ...rest]);
          else callback(null, first.address, first.family);
        },
        (error: Error) => callback(error, ""),
      );
    };
  }
  const lookupPublic = lookupWith(isPublicAddress);
  const lookupAny = lookupWith(() => true);

  /** A refusal becomes an error of DNS, so that it takes the way of every connection error. */
  function addressOf(host: string, port: number, secure: boolean): net.TcpNetConnectOpts {
    try {
      const { guarded, ...to } = target(host, port, secure);
      return { ...to, lookup: guarded ? lookupPublic : lookupAny };
    } catch (refusal) {
      return { host: "refused.invalid", port, lookup: (_host, _options, callback) => callback(refusal as Error, "") };
    }
  }

  function dial(host: string, port: number, secure: boolean, ALPNProtocols: string[]): net.Socket {
    const to = { noDelay: true, keepAlive: true, ...addressOf(host, port, secure) };
    const socket = secure
      ? tls.connect({ ...to, ALPNProtocols, servername: net.isIP(host) === 0 ? host : "", ...(ca && { ca }) })
      : net.connect(to);
    const timedOut = Object.assign(new Error(`connecting to ${host} timed out`), { code: "ETIMEDOUT" });
    const cancel = clock.setTimer(connectTimeoutMs, () => socket.destroy(timedOut));
    socket.once(secure ? "secureConnect" : "connect", cancel).once("close", cancel);
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    return socket;
  }

  const plainAgent = new http.Agent(AGENT_OPTIONS);
  plainAgent.createConnection = (to) => dial(to.host ?? "", Number(to.port), false, []);
  const secureAgent = new https.Agent(AGENT_OPTIONS);
  secureAgent.createConnection = (to) => dial(to.host ?? "", Number(to.port), true, ["http/1.1"]);
  return {
    http: plainAgent,
    https: secureAgent,
    connectHttp2({ protocol, hostname, port }) {
      const secure = protocol === "https:";
      const host = hostname.replace(/^\[|\]$/g, "");
      return dial(host, port === "" ? (secure ? 443 : 80) : Number(port), secure, ["h2"]);
    },
    close() {
      isClosed = true;
      plainAgent.destroy();
      secureAgent.destroy();
      for (const socket of open) socket.destroy();
    },
  };
}

function notAllowed(message: string): Refusal {
  return new Refusal(Reason.ADDRESS_NOT_ALLOWED, message);
}

function notPublic(host: string): Refusal {
  return notAllowed(`${host} is not on the public Internet`);
}

function resolve(host: string): Promise<Address[]> {
  return dns.lookup(host, { all: true });
}

function never(): boolean {
  return false;
}
