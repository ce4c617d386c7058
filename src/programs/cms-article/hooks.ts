import { DataHandling, type ProvisionService } from "../../../gen/omi/agent/v1/agent_pb.ts";
import { type AgentHooks, providerRefused } from "../../agent/hooks.ts";
import type { Articles } from "./articles.ts";

/** The service type of the sample. */
export const ARTICLE_SERVICE_TYPE = "cms-article";

const TIERS: readonly string[] = ["standard", "pro_cluster"];
const REGIONS: readonly string[] = ["eu-central-1", "us-east-1"];
const MAX_STORAGE_GB = 1000;

/**
 * What the sample does when its tenants change.
 *
 * @param eraseTraces takes what was deleted off the disk
 */
export function articleHooks({ store, writes }: Articles, eraseTraces: () => void): AgentHooks {
  return {
    accepts: requireOffered,
    onProvision: (tenant) => writes.run("article.open-space", () => store.openSpace(tenant)),
    // Usage and the keys of tokens are the agent's work, and the sample sends no logs or metrics: nothing else concerns it.
    onContext: () => {},
    async onTerminate(tenant, dataHandling) {
      if (dataHandling === DataHandling.RETAIN) {
        await writes.run("article.close-space", () => store.closeSpace(tenant));
      } else {
        await writes.run("article.delete-space", () => store.deleteSpace(tenant));
        eraseTraces();
      }
    },
  };
}

function requireOffered({ serviceTier, region, storageLimitGb, parameters }: ProvisionService): void {
  if (serviceTier !== "" && !TIERS.includes(serviceTier)) throw providerRefused("service_tier", "no such tier");
  if (region !== "" && !REGIONS.includes(region)) throw providerRefused("region", "no such region");
  if (storageLimitGb > MAX_STORAGE_GB) throw providerRefused("storage_limit_gb", `at most ${MAX_STORAGE_GB} GB`);
  if (parameters.length > 0) throw providerRefused("parameters", "the sample has no further settings");
}
