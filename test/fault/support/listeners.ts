import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import {
  type GetSubscriptionResponse,
  SubscriberService,
  SubscriptionState,
  SubscriptionStateSchema,
} from "../../../gen/omi/event/v1/subscriber_service_pb.ts";
import type { FaultMesh } from "./fault-mesh.ts";
import { readSequences } from "./registry-facts.ts";
import { until } from "./wait.ts";

/** The parts that listen to events. */
export const listenerNames = ["auth-provider", "cms-article", "journal", "billing"] as const;

/** The name of such a part. */
export type ListenerName = (typeof listenerNames)[number];

/** What a part says of how far it is with an app; undefined if it says nothing: it is down, or doesn't listen to it. */
export async function subscriptionOf(
  mesh: FaultMesh,
  name: ListenerName,
  appId: string,
): Promise<GetSubscriptionResponse | undefined> {
  const baseUrl = `http://127.0.0.1:${mesh.members[name].member.port}`;
  const transport = createConnectTransport({ baseUrl, httpVersion: "1.1", defaultTimeoutMs: 5000 });
  try {
    return await createClient(SubscriberService, transport).getSubscription({ appId });
  } catch {
    return undefined;
  }
}

/** Waits until a part is in some state with an app. */
export function untilStateOf(mesh: FaultMesh, name: ListenerName, appId: string, state: SubscriptionState) {
  return until(`${name} ${SubscriptionStateSchema.value[state]?.localName} with ${appId}`, async () => {
    const subscription = await subscriptionOf(mesh, name, appId);
    return subscription?.state === state ? subscription : undefined;
  });
}

/** Waits until every part that listens says that it has applied all events of these apps. */
export async function untilAllCurrent(mesh: FaultMesh, appIds: readonly string[]): Promise<void> {
  const sequences = readSequences(mesh.databaseFile("registry"));
  for (const name of listenerNames) {
    for (const appId of appIds) {
      await until(`${name} to be up to date with ${appId}`, async () => {
        const subscription = await subscriptionOf(mesh, name, appId);
        return (
          subscription?.state === SubscriptionState.CURRENT &&
          subscription.appliedSequence >= (sequences.get(appId) ?? 0n)
        );
      });
    }
  }
}
