import type { ServiceImpl } from "@connectrpc/connect";
import { ProvisionServiceSchema, ServiceProvisionedSchema } from "../../../gen/omi/agent/v1/agent_pb.ts";
import type { AgentService } from "../../../gen/omi/agent/v1/agent_service_pb.ts";
import { unixSeconds } from "../../core/clock.ts";
import { signProviderAnswer } from "../../tenancy/answer.ts";
import type { Tenancy } from "../../tenancy/tenancy.ts";
import type { Provisioning } from "../provisioning.ts";

/** `AgentService.ProvisionService`. */
export function provisionService(
  { orders, provider, clock }: Tenancy,
  provisioning: Provisioning,
): ServiceImpl<typeof AgentService>["provisionService"] {
  return async ({ statement }) => {
    const { opened } = await orders.open(ProvisionServiceSchema, statement);
    const { appId, serviceId, serviceType, publicKey, endpointUrl } = await provisioning.provision(opened);
    const answer = signProviderAnswer(
      ServiceProvisionedSchema,
      { appId, serviceId, serviceType, publicKey, endpointUrl },
      { order: opened, key: provider.key, now: unixSeconds(clock) },
    );
    return { answer };
  };
}
