import { ActivationPolicy } from "../../../gen/omi/registry/v1/registry_pb.ts";

/** What an operator may decide about a registry. A change never touches what the log already holds. */
export interface RegistryPolicy {
  /** How far a statement's timestamp may be from the registry's clock, in seconds. */
  freshnessWindowSeconds: number;
  /** The grace period of a rotation that asks for none, in seconds. */
  defaultGracePeriodSeconds: number;
  /** The least and the greatest grace period, in seconds. */
  minGracePeriodSeconds: number;
  maxGracePeriodSeconds: number;
  /** The longest life of a user token, in seconds: how long a replaced Auth key of the same provider stays valid. */
  maxTokenLifeSeconds: number;
  activationPolicy: ActivationPolicy;
}

export const defaultPolicy: RegistryPolicy = {
  freshnessWindowSeconds: 300,
  defaultGracePeriodSeconds: 300,
  minGracePeriodSeconds: 0,
  maxGracePeriodSeconds: 86_400,
  maxTokenLifeSeconds: 900,
  activationPolicy: ActivationPolicy.OPEN,
};
