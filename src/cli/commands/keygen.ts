import { type Command, Option } from "commander";
import { toBase64Url } from "../../core/bytes.ts";
import { KEY_ROLE_NAMES, parseKeyRole } from "../../core/key-file.ts";
import { generateSigningKey, saveSigningKey } from "../../developer/signing-key.ts";
import { example } from "../arguments.ts";
import type { CliDeps } from "../deps.ts";
import { UsageError } from "../exit-code.ts";
import { Output } from "../output.ts";
import type { GlobalOptions } from "../session.ts";

/** `omi keygen`: makes a key pair in a new file. The secret half is never printed. */
export function addKeygen(program: Command, deps: CliDeps): void {
  const command = program
    .command("keygen")
    .description("make a new Ed25519 key pair in a file that only you can read")
    .addOption(new Option("--role <role>", "what the key is for").choices(KEY_ROLE_NAMES).default("master"))
    .requiredOption("--out <path>", "the new file; an existing one is never overwritten")
    .action(({ role, out }: { role: string; out: string }, command: Command) => {
      const parsed = parseKeyRole(role);
      if (parsed === undefined) throw new UsageError(`${role} is no role`);
      const key = generateSigningKey(deps.random);
      saveSigningKey(out, parsed, key);
      const output = new Output(deps, command.optsWithGlobals<GlobalOptions>().json === true);
      output.result({ role, file: out, key_id: key.keyId, public_key: toBase64Url(key.publicKey) });
      output.note("Keep a copy of the file in a safe place. Whoever has it, has your authority.");
    });
  example(command, "omi keygen --role master --out master.key.json");
}
