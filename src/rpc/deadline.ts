// RFC of the units: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, "Timeout".
const GRPC_UNITS_IN_MS = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/**
 * Gives a unary request the server's deadline where the caller's is missing or further away, by writing it into the
 * timeout header that connect reads; handlers then see it in `signal` and `timeoutMs()`. A header that is no timeout
 * stays, for connect to refuse.
 *
 * @param header - the request's header, changed in place
 * @param maxMs - milliseconds
 */
export function boundDeadline(header: Headers, maxMs: number): void {
  const grpc = header.get("content-type")?.startsWith("application/grpc") ?? false;
  const name = grpc ? "grpc-timeout" : "connect-timeout-ms";
  const value = header.get(name);
  const asked = value === null ? Number.POSITIVE_INFINITY : grpc ? grpcTimeout(value) : Number(value);
  if (asked > maxMs) header.set(name, grpc ? `${maxMs}m` : `${maxMs}`);
}

function grpcTimeout(value: string): number {
  const unit = GRPC_UNITS_IN_MS[value.at(-1) as keyof typeof GRPC_UNITS_IN_MS] ?? Number.NaN;
  return Number(value.slice(0, -1)) * unit;
}
