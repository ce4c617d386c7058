import { type Command, InvalidArgumentError } from "commander";
import { fromBase64Url } from "../core/bytes.ts";
import { PUBLIC_KEY_LENGTH } from "../statement/ed25519-form.ts";

/** Adds an example to a command's help, as it is typed where `omi` is not installed for the whole machine. */
export function example(command: Command, ...lines: readonly string[]): Command {
  const typed = lines.map((line) => `  ${line.startsWith(" ") ? line : `$ ${line.replace(/\bomi /, "npx omi ")}`}\n`);
  return command.addHelpText("after", `\nExample:\n${typed.join("")}`);
}

/** Parses a number that is whole and not negative. */
export function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidArgumentError("A whole number is expected.");
  return value;
}

/** Parses a number from 1 on. Where 0 would stand for something else, such as a default, nobody shall type it by mistake. */
export function countingNumber(text: string): number {
  const value = wholeNumber(text);
  if (value === 0) throw new InvalidArgumentError("A whole number from 1 on is expected.");
  return value;
}

/** Parses a sequence or an index. */
export function position(text: string): bigint {
  return BigInt(wholeNumber(text));
}

/** Parses a public key. */
export function publicKey(text: string): Uint8Array {
  const bytes = fromBase64Url(text);
  if (bytes?.length !== PUBLIC_KEY_LENGTH) throw new InvalidArgumentError("A public key in base64url is expected.");
  return bytes;
}

/** Parses `name=value` and adds it to those that came before. */
export function setting(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("name=value is expected.");
  const name = text.slice(0, at);
  if (Object.hasOwn(before, name)) throw new InvalidArgumentError(`${name} is given twice.`);
  return { ...before, [name]: text.slice(at + 1) };
}

/** Makes a parser of an option that may be given several times. */
export function several<T>(parse: (text: string) => T): (text: string, before?: readonly T[]) => T[] {
  return (text, before = []) => [...before, parse(text)];
}
