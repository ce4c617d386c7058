import type { ConnectRouter } from "@connectrpc/connect";
import { SubscriberService } from "../../../gen/omi/event/v1/subscriber_service_pb.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { boundedRequests } from "../../rpc/handlers/bounds.ts";
import type { Subscriber } from "./subscriber.ts";

/** Serves `SubscriberService` for the part's subscriber. */
export function subscriberRoutes(router: ConnectRouter, subscriber: Subscriber): void {
  router.service(
    SubscriberService,
    {
      getSubscription({ appId }) {
        const status = subscriber.status(appId);
        if (status === undefined) throw new Refusal(Reason.APP_UNKNOWN, "this part does not listen to the app");
        return status;
      },
    },
    { interceptors: [boundedRequests()] },
  );
}
