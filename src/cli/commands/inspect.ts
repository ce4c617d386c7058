import { existsSync } from "node:fs";
import type { JsonValue } from "@bufbuild/protobuf";
import type { Command } from "commander";
import { inspect, isSound } from "../../developer/inspect.ts";
import { readStatement } from "../../developer/read-statement.ts";
import { type FindSignerKey, firstOf, givenKey, keyOfMesh, ownKey } from "../../developer/signer-key.ts";
import { example, publicKey } from "../arguments.ts";
import type { CliDeps } from "../deps.ts";
import { UnverifiedError } from "../exit-code.ts";
import { readBounded, STDIN } from "../read-bounded.ts";
import { withSession } from "../session.ts";
import { printableJson } from "../text.ts";

/** In bytes; a Statement that fills a message of 1 MiB has room in it as any of the texts. */
const MAX_INPUT_LENGTH = 4 * 1024 * 1024;

type InspectOptions = { publicKey?: Uint8Array; domain?: string; offline?: boolean };

/** `omi inspect`: shows what is in a Statement and whether it holds. */
export function addInspect(program: Command, deps: CliDeps): void {
  const command = program
    .command("inspect <statement>")
    .description(
      "show any Statement as JSON: a file (binary, hex, base64 or JSON), such a text itself, or - for standard input",
    )
    .option("--public-key <key>", "the key, base64url, that must have signed it", publicKey)
    .option("--domain <domain>", "the registry or provider that signed it, where it does not say so")
    .option("--offline", "ask nobody for keys")
    .action((argument: string, options: InspectOptions, command: Command) =>
      withSession(command, deps, async ({ output, connections }) => {
        const statement = readStatement(await readInput(argument, deps));
        const { publicKey: given, domain, offline = false } = options;
        const ways: FindSignerKey[] = given !== undefined ? [givenKey(given), ownKey] : [ownKey];
        if (!offline) ways.push(keyOfMesh(connections, domain));
        const { allowPlainHttp } = connections;
        const found = await inspect(statement, { findKey: firstOf(...ways), allowPlainHttp });
        const json = found as unknown as JsonValue;
        output.result(json, () => `${printableJson(json, 2)}\n`);
        const wanted = given === undefined || found.signature.key_from === "given";
        if (!isSound(found) || !wanted) throw new UnverifiedError("the Statement does not verify");
      }),
    );
  example(
    command,
    "omi inspect receipt.json",
    "omi inspect --public-key 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo - < st.bin",
  );
}

async function readInput(argument: string, deps: CliDeps): Promise<Uint8Array | string> {
  if (argument !== STDIN && !existsSync(argument)) return argument;
  return readBounded(argument, deps, MAX_INPUT_LENGTH);
}
