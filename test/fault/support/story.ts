import type { DataHandling } from "../../../gen/omi/agent/v1/agent_pb.ts";

/** How often something happened, as far as the developer can know: flows that were run again may have happened each time. */
export interface Count {
  least: number;
  most: number;
}

/** What a developer did with one service of an app; the Auth Provider's record among them. */
export interface ServiceStory {
  readonly serviceId: string;
  readonly provider: string;
  /** Bindings, first and restored; of `auth` announcements. */
  readonly bound: Count;
  readonly rotated: Count;
  readonly suspended: Count;
  /** How it ended: not; with its provider, which gave a receipt; without it. */
  end: "in use" | "terminated" | "unbound";
  /** What became of its data if it was terminated. */
  dataHandling: DataHandling | undefined;
  /** IDs of articles that the service said it has stored. */
  readonly articles: string[];
}

/** What a developer did with one app. */
export interface AppStory {
  readonly appId: string;
  readonly backbone: Count;
  readonly services: ServiceStory[];
  /** Users that the Auth Provider said it has made. */
  readonly users: string[];
}

/** A story that begins. */
export function serviceStory(serviceId: string, provider: string): ServiceStory {
  return {
    serviceId,
    provider,
    bound: never(),
    rotated: never(),
    suspended: never(),
    end: "in use",
    dataHandling: undefined,
    articles: [],
  };
}

export function never(): Count {
  return { least: 0, most: 0 };
}

/** Counts something that was done once, and tried this often. */
export function add(count: Count, attempts: number): void {
  count.least += 1;
  count.most += attempts;
}
