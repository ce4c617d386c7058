import type { ServiceImpl } from "@connectrpc/connect";
import { RotateServiceKeySchema, ServiceKeyRotatedSchema } from "../../../gen/omi/agent/v1/agent_pb.ts";
import type { TenancyService } from "../../../gen/omi/agent/v1/agent_service_pb.ts";
import { type Clock, unixSeconds } from "../../core/clock.ts";
import { signProviderAnswer } from "../answer.ts";
import type { MasterOrders } from "../master-order.ts";
import type { KeyRotation } from "../rotation.ts";
import type { Provider } from "../state.ts";

/** `TenancyService.RotateServiceKey`. */
export function rotateServiceKey(
  orders: MasterOrders,
  rotation: KeyRotation,
  { provider, clock }: { provider: Provider; clock: Clock },
): ServiceImpl<typeof TenancyService>["rotateServiceKey"] {
  return async ({ statement }) => {
    const { opened } = await orders.open(RotateServiceKeySchema, statement);
    const { publicKey, previousPublicKey, gracePeriodExpiry } = await rotation.rotateAsOrdered(opened);
    const { appId, serviceId } = opened.message;
    const answer = signProviderAnswer(
      ServiceKeyRotatedSchema,
      { appId, serviceId, publicKey, previousPublicKey, gracePeriodExpiry: BigInt(gracePeriodExpiry) },
      { order: opened, key: provider.key, now: unixSeconds(clock) },
    );
    return { answer };
  };
}
