// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, "TimeoutUnit".
const GRPC_UNITS_IN_MS = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

// The longest time that Node's timers hold: beyond it, they fire at once.
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Gives a request the server's deadline where the caller's is missing or further away, by writing it into the
 * timeout header that connect reads; handlers then see it in `signal` and `timeoutMs()`. A header that is no timeout
 * stays, for connect to refuse.
 *
 * @param header - the request's header, changed in place
 * @param maxMs - milliseconds; Infinity for none of the server's
 * @param elapsedMs - milliseconds that have already passed since the request's headers came
 */
export function boundDeadline(header: Headers, maxMs: number, elapsedMs = 0): void {
  const grpc = header.get("content-type")?.startsWith("application/grpc") ?? false;
  const name = timeoutHeader(grpc);
  const asked = timeoutOf(header.get(name) ?? undefined, grpc);
  // `asked` was cut to what timers hold; the header may say more, and connect's timer would fire at once.
  const mayExceedTimers = asked === MAX_TIMER_MS;
  if (asked > maxMs || elapsedMs > 0 || mayExceedTimers) {
    const left = Math.ceil(Math.max(0, Math.min(asked, maxMs) - elapsedMs));
    if (Number.isFinite(left)) header.set(name, grpc ? grpcTimeout(left) : `${left}`);
  }
}

// The value has eight digits at the most.
function grpcTimeout(ms: number): string {
  return ms < 1e8 ? `${ms}m` : `${Math.floor(ms / 1000)}S`;
}

/** The name of the header with the caller's deadline. */
export function timeoutHeader(grpc: boolean): "grpc-timeout" | "connect-timeout-ms" {
  return grpc ? "grpc-timeout" : "connect-timeout-ms";
}

/**
 * The milliseconds that a caller gives a call: Infinity without the header, NaN if it is no timeout, and never more than
 * timers hold.
 */
export function timeoutOf(header: string | undefined, grpc: boolean): number {
  if (header === undefined) return Number.POSITIVE_INFINITY;
  return Math.min(grpc ? grpcTimeoutOf(header) : connectTimeoutOf(header), MAX_TIMER_MS);
}

function connectTimeoutOf(header: string): number {
  return /^\d{1,10}$/.test(header) ? Number(header) : Number.NaN;
}

function grpcTimeoutOf(header: string): number {
  const [, value, unit] = /^(\d{1,8})([HMSmun])$/.exec(header) ?? [];
  return Number(value) * (GRPC_UNITS_IN_MS[unit as keyof typeof GRPC_UNITS_IN_MS] ?? Number.NaN);
}
