import type { ServiceImpl } from "@connectrpc/connect";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../../gen/health/v1/health_pb.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import type { HttpRoute } from "../http/http-routes.ts";
import { NO_STORE } from "../ready/caching.ts";
import type { Readiness } from "./readiness.ts";

export { Health };

/** The path at which health is told to those who can't call RPCs. */
const HEALTH_PATH = "/healthz";

/** Tells health to load balancers and orchestrators that know plain GET alone: 200, or 503 once the server stops. */
export function healthRoute(readiness: Readiness): HttpRoute {
  return {
    method: "GET",
    path: HEALTH_PATH,
    handler: () => ({
      status: readiness.ready ? 200 : 503,
      headers: { "content-type": "application/json", "cache-control": NO_STORE },
      body: JSON.stringify({ status: readiness.ready ? "SERVING" : "NOT_SERVING" }),
    }),
  };
}

/**
 * The gRPC health service (https://github.com/grpc/grpc/blob/master/doc/health-checking.md). All services of a server
 * are as ready as the server, whose own name is the empty string.
 */
export function healthService(readiness: Readiness, services: ReadonlySet<string>): ServiceImpl<typeof Health> {
  const known = (service: string) => service === "" || services.has(service);
  const status = () => (readiness.ready ? Status.SERVING : Status.NOT_SERVING);
  return {
    check({ service }) {
      if (!known(service)) throw new Refusal(Reason.NOT_FOUND, "no such service", { metadata: { field: "service" } });
      return { status: status() };
    },
    list() {
      return { statuses: Object.fromEntries(["", ...services].map((service) => [service, { status: status() }])) };
    },
    async *watch({ service }, { signal }) {
      let told: Status | undefined;
      while (!signal.aborted) {
        const now = known(service) ? status() : Status.SERVICE_UNKNOWN;
        if (now === told) {
          await readiness.changed(signal);
        } else {
          told = now;
          yield { status: now };
        }
      }
    },
  };
}
