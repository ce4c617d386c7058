/**
 * What a vendor needs to make a service that developers can order: the agent, and how it finds the other parties.
 *
 * @module
 */
export { systemClock } from "../core/clock.ts";
export { loadConfig } from "../core/config.ts";
export { createLogger } from "../core/log.ts";
export { systemRandom } from "../core/random.ts";
export { Reason, Refusal } from "../core/refusal.ts";
export { clientConfigSchema } from "../directory/client-config.ts";
export { type Connections, createConnections } from "../directory/connections.ts";
export { createPinFile } from "../directory/pin-file.ts";
export { createViews } from "../directory/views.ts";
export { boundedRequests } from "../rpc/handlers/bounds.ts";
export { createServer, type Server, type ServerOptions } from "../rpc/server.ts";
export { createSigningKey, type SigningKey } from "../statement/crypto.ts";
export { callerOf } from "./access.ts";
export { type Agent, type AgentOptions, createAgent } from "./agent.ts";
export { type AgentHooks, providerRefused } from "./hooks.ts";
export type { CallTarget } from "./service-tokens.ts";
export type { Usage } from "./usage.ts";
