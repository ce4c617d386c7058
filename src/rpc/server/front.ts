import net from "node:net";
import tls from "node:tls";
import type { Clock } from "../../core/clock.ts";
import type { Limits } from "../call/limits.ts";
import type { Dispatch } from "./dispatch.ts";
import { createHttp1 } from "./http1.ts";
import { createHttp2 } from "./http2.ts";
import type { Certificate } from "./tls-files.ts";

/** The listener of the one port, and all connections that it accepted. */
export type Front = {
  readonly listener: net.Server;
  /** With TLS: shows another certificate from now on. Connections that there are stay as they are. */
  useCertificate(certificate: Certificate): void;
  /** Finishes what is under way and closes everything else, except the listener. */
  drain(): void;
  /** Destroys all connections. */
  destroy(): void;
};

// Every HTTP/2 connection begins with `PRI * HTTP/2.0` (RFC 9113 section 3.4). No HTTP/1.1 method starts like this.
const PREFACE = Buffer.from("PRI");

/**
 * Accepts connections and gives each to HTTP/1.1 or HTTP/2: as ALPN says with TLS, else by the first bytes, since Node's
 * own HTTP/2 server without TLS drops HTTP/1.1 clients.
 */
export function createFront(
  dispatch: Dispatch,
  certificate: Certificate | undefined,
  limits: Limits,
  clock: Clock,
): Front {
  const http1 = createHttp1(dispatch, limits, clock);
  const http2 = createHttp2(dispatch, limits, clock);
  const sockets = new Set<net.Socket>();
  const undecided = new Set<net.Socket>();
  let draining = false;

  const decide = (socket: net.Socket, version: "1.1" | "2") => {
    undecided.delete(socket);
    if (draining) socket.destroy();
    else if (version === "2") http2.serve(socket);
    else http1.serve(socket);
  };

  const options = { noDelay: true, keepAlive: true };
  let listener: net.Server;
  let useCertificate: Front["useCertificate"] = () => {};
  if (certificate === undefined) {
    listener = net.createServer(options, (socket) => {
      undecided.add(socket);
      const cancel = clock.setTimer(limits.firstBytesTimeoutMs, () => undecided.has(socket) && socket.destroy());
      socket.once("close", () => {
        cancel();
        undecided.delete(socket);
      });
      sniff(socket, (version) => decide(socket, version));
    });
  } else {
    const secure = tls.createServer(
      {
        ...options,
        ...certificate,
        ALPNProtocols: ["h2", "http/1.1"],
        handshakeTimeout: limits.firstBytesTimeoutMs,
      },
      (socket) => decide(socket, socket.alpnProtocol === "h2" ? "2" : "1.1"),
    );
    // A handshake that failed or took too long; Node itself leaves the connection of a slow one open.
    secure.on("tlsClientError", (_, socket) => socket.destroy());
    useCertificate = (renewed) => secure.setSecureContext(renewed);
    listener = secure;
  }
  listener.maxConnections = limits.maxConnections;
  listener.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => {}); // a reset by the peer; "close" follows
  });

  return {
    listener,
    useCertificate,
    drain() {
      draining = true;
      http1.drain();
      http2.drain();
      for (const socket of undecided) socket.destroy();
    },
    destroy() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

// Reads until the bytes differ from the preface or hold all of it, and puts them back.
function sniff(socket: net.Socket, decided: (version: "1.1" | "2") => void, before = Buffer.alloc(0)): void {
  socket.once("data", (chunk: Buffer) => {
    socket.pause();
    const start = Buffer.concat([before, chunk]);
    const length = Math.min(start.length, PREFACE.length);
    const same = start.subarray(0, length).equals(PREFACE.subarray(0, length));
    if (same && length < PREFACE.length) {
      sniff(socket, decided, start);
      socket.resume();
      return;
    }
    socket.unshift(start);
    decided(same ? "2" : "1.1");
    // An HTTP/2 session reads what was put back by itself; flowing, it would be lost before the session is ready.
    if (!same) socket.resume();
  });
}
