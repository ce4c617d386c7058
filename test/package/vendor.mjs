// A vendor's program, as it would be written against the installed package: an agent on the vendor's own Connect server.
import { createServer } from "node:http";
import { createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createConnectTransport } from "@connectrpc/connect-node";
import {
  clientConfigSchema,
  systemClock as clock,
  createAgent,
  createConnections,
  createLogger,
  createSigningKey,
  createViews,
  systemRandom as random,
} from "@omi/mesh/agent";
import { AgentService } from "@omi/mesh/gen/omi/agent/v1/agent_service_pb";
import { ErrorDetailSchema, Reason } from "@omi/mesh/gen/omi/error/v1/reason_pb";

const config = clientConfigSchema.parse({ development: true });
const { registries } = createConnections(config, { clock, random });
const agent = createAgent({
  provider: { domain: "vendor.test", key: createSigningKey(random(32)), baseUrl: "https://vendor.test" },
  databaseFile: "agent.db",
  registries,
  views: createViews({ registries, clock }),
  clock,
  random,
  logger: createLogger({ level: "silent", component: "vendor" }),
  serviceTypes: ["storage"],
  endpointUrl: () => "https://vendor.test",
  hooks: { onProvision() {}, onContext() {}, onTerminate() {} },
});
const server = createServer(connectNodeAdapter({ routes: (router) => agent.routes(router) }));
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
await agent.start();

const baseUrl = `http://127.0.0.1:${server.address().port}`;
const client = createClient(AgentService, createConnectTransport({ baseUrl, httpVersion: "1.1" }));
const error = await client.provisionService({}).catch((cause) => cause);
const [detail] = error.findDetails(ErrorDetailSchema);
console.log(JSON.stringify({ reason: detail?.reason === Reason.FIELD_INVALID ? "FIELD_INVALID" : detail?.reason }));
server.closeAllConnections();
server.close();
await agent.stop();
