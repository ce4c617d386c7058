import type { Command } from "commander";
import type { ServiceSettings } from "../../developer/services.ts";
import { setting, wholeNumber } from "../arguments.ts";

/** The settings of a service as options. */
export type SettingOptions = {
  readonly tier?: string;
  readonly region?: string;
  readonly storageGb?: number;
  readonly param?: Readonly<Record<string, string>>;
};

/** Adds the options for a service's settings to a command. */
export function addSettingOptions(command: Command): Command {
  return command
    .option("--tier <name>", "the provider's name of a tier")
    .option("--region <name>", "the provider's name of a region")
    .option("--storage-gb <number>", "storage limit in gigabytes", wholeNumber)
    .option("--param <name=value>", "a further setting, no secret; repeat it for several", setting);
}

/** The settings that options say. */
export function settingsOf({ tier, region, storageGb, param }: SettingOptions): ServiceSettings {
  return {
    ...(tier !== undefined && { serviceTier: tier }),
    ...(region !== undefined && { region }),
    ...(storageGb !== undefined && { storageLimitGb: storageGb }),
    ...(param !== undefined && { parameters: param }),
  };
}
