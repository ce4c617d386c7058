import type { ListServicesRequest } from "../../../gen/omi/registry/v1/resolver_service_pb.ts";
import { ServiceListAnswerSchema } from "../../../gen/omi/registry/v1/service_pb.ts";
import { isName } from "../../core/names.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { checkAppRegistry } from "../accept.ts";
import { factsOfApp, serviceMessage } from "../answers.ts";
import type { ReadCore } from "../core.ts";
import { requireApp } from "../rules/authority.ts";

const defaultPageSize = 50;

/** Lists an app's services. Pages belong together only while the app's sequence stays the same. */
export function listServices(core: ReadCore, request: ListServicesRequest, now: number) {
  checkAppRegistry(core, request.appId);
  const app = requireApp(core.store.appState(request.appId));
  const after = parsePageToken(request.pageToken, app.sequence);
  const size = request.pageSize || defaultPageSize;
  const rows = core.store.services(request.appId, after, size + 1);
  const services = rows.slice(0, size).map((row) => serviceMessage(core, row, now));
  const last = services.at(-1);
  const message = {
    appId: request.appId,
    services,
    nextPageToken: rows.length > size && last !== undefined ? `${app.sequence}.${last.serviceId}` : "",
  };
  const keys = services.flatMap((service) => service.keys);
  return factsOfApp(ServiceListAnswerSchema, message, app, keys);
}

/** The service ID to go on after. A token is `<app sequence>.<service ID>`. */
function parsePageToken(token: string, sequence: number): string {
  if (token === "") return "";
  const [of, after, ...rest] = token.split(".");
  if (!/^[0-9]{1,15}$/.test(of ?? "") || after === undefined || rest.length > 0 || !isName(after)) {
    throw new Refusal(Reason.CURSOR_INVALID, "this is not a page token of this list", {
      metadata: { field: "page_token" },
    });
  }
  if (Number(of) !== sequence) {
    throw new Refusal(Reason.LIST_CHANGED, "the app changed since the page before");
  }
  return after;
}
