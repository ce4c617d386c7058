import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { Reason, Refusal } from "../core/refusal.ts";
import type { Connections } from "../directory/connections.ts";
import { RemoteRefusal } from "../rpc/errors.ts";

// No Reason says that a provider can't be reached; of those that exist this one says what to do.
const UNREACHABLE = Reason.DEADLINE_EXCEEDED;

/**
 * Calls a provider.
 *
 * @throws RemoteRefusal what the provider refused; Refusal PROVIDER_UNKNOWN {domain} if it can't be found, DEADLINE_EXCEEDED
 *   if it can't be reached or does not answer in time
 */
export async function callProvider<Service extends DescService, Response>(
  { transportFor }: Connections,
  domain: string,
  service: Service,
  call: (client: Client<Service>) => Promise<Response>,
): Promise<Response> {
  const client = createClient(service, await transportFor(domain, UNREACHABLE));
  try {
    return await call(client);
  } catch (error) {
    if (error instanceof RemoteRefusal || !(error instanceof Refusal) || error.reason !== UNREACHABLE) throw error;
    throw new Refusal(UNREACHABLE, `${domain} can't be reached or did not answer in time`, { cause: error });
  }
}
