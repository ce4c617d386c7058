import type { Clock } from "../core/clock.ts";
import type { Subscriber } from "../events/subscriber/subscriber.ts";
import type { WriteQueue } from "../store/write-queue.ts";
import type { Admission } from "../tenancy/admission.ts";
import type { MasterOrders } from "../tenancy/master-order.ts";
import type { ServiceCallers } from "../tenancy/service-callers.ts";
import type { Provider } from "../tenancy/state.ts";
import type { Accounts } from "./accounts.ts";

/** Everything that the RPCs of Billing work with. */
export type BillingCore = {
  readonly provider: Provider;
  /** Where Billing is reached, as a backbone names it. */
  readonly baseUrl: string;
  readonly clock: Clock;
  readonly writes: WriteQueue;
  readonly accounts: Accounts;
  readonly callers: ServiceCallers;
  readonly orders: MasterOrders;
  readonly admission: Admission;
  readonly subscriber: Subscriber;
};
