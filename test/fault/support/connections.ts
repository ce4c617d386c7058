import { parseAppId } from "../../../src/core/app-id.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { loadConfig } from "../../../src/core/config.ts";
import { systemRandom } from "../../../src/core/random.ts";
import { Reason } from "../../../src/core/refusal.ts";
import { clientConfigSchema } from "../../../src/directory/client-config.ts";
import { type Connections, createConnections } from "../../../src/directory/connections.ts";
import { createMemoryPinStore } from "../../../src/directory/pin-store.ts";
import { RegistryClient } from "../../../src/directory/registry-client.ts";
import { createTransports } from "../../../src/directory/transports.ts";
import type { Mesh } from "../../../src/operator/mesh.ts";
import type { Calls, Patience } from "./calls.ts";

/** The ways of a developer to all parties, with an account of what goes over them. */
export function accountedConnections(mesh: Mesh, calls: Calls, patience: Patience): Connections {
  const config = loadConfig(clientConfigSchema, { file: mesh.clientFile, env: {}, prefix: "OMI_" });
  const plain = createConnections(config, { clock: systemClock, random: systemRandom });
  const { directory, dialer } = plain;
  const transports = createTransports({ dialer, unavailable: Reason.REGISTRY_UNAVAILABLE });
  const clients = new Map<string, RegistryClient>();

  function forDomain(domain: string): RegistryClient {
    let client = clients.get(domain);
    if (client === undefined) {
      client = new RegistryClient({
        domain,
        directory,
        transportOf: (entry) => calls.through(transports.transportOf(entry), domain, patience),
        clock: systemClock,
        random: systemRandom,
        pinStore: createMemoryPinStore(),
      });
      clients.set(domain, client);
    }
    return client;
  }

  return {
    ...plain,
    registries: { forDomain, forApp: (appId) => forDomain(parseAppId(appId)?.registryDomain ?? ""), close() {} },
    transportFor: async (domain, unavailable) =>
      calls.through(await plain.transportFor(domain, unavailable), domain, patience),
    close() {
      transports.close();
      plain.close();
    },
  };
}
