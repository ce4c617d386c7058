import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import type { Connections } from "../directory/connections.ts";

/**
 * Calls a provider.
 *
 * @throws RemoteRefusal what the provider refused; Refusal PROVIDER_UNKNOWN {domain} if it can't be found,
 *   PROVIDER_UNAVAILABLE {host} if it can't be reached or does not answer in time
 */
export async function callProvider<Service extends DescService, Response>(
  { transportFor }: Connections,
  domain: string,
  service: Service,
  call: (client: Client<Service>) => Promise<Response>,
): Promise<Response> {
  return call(createClient(service, await transportFor(domain)));
}
