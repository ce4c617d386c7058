import type { ServiceImpl } from "@connectrpc/connect";
import { TerminateSchema } from "../../../gen/omi/agent/v1/agent_pb.ts";
import type { TenancyService } from "../../../gen/omi/agent/v1/agent_service_pb.ts";
import type { MasterOrders } from "../master-order.ts";
import type { TenantTermination } from "../termination.ts";

/** `TenancyService.TerminateService`. */
export function terminateService(
  orders: MasterOrders,
  termination: TenantTermination,
): ServiceImpl<typeof TenancyService>["terminateService"] {
  return async ({ statement }) => {
    const { opened } = await orders.open(TerminateSchema, statement);
    return { receipt: await termination.terminate(opened) };
  };
}
