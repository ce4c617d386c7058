import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type DescEnumValue, type DescMethod, getOption } from "@bufbuild/protobuf";
import { type Reason, ReasonSchema } from "../../gen/omi/error/v1/reason_pb.ts";
import { Access, AccessSchema, rule } from "../../gen/omi/options/v1/options_pb.ts";

const PROTO = fileURLToPath(new URL("../../proto/", import.meta.url));

/** The comment above the one line of a proto file that `pattern` matches, as one text. */
export function commentAbove(file: string, pattern: RegExp): string {
  const lines = linesOf(file);
  const found = lines.flatMap((line, index) => (pattern.test(line) ? [index] : []));
  const [at] = found;
  if (at === undefined || found.length > 1) throw new Error(`${file} has ${found.length} lines like ${pattern}`);
  let first = at;
  while (lines[first - 1]?.trim().startsWith("//")) first--;
  const comment = lines.slice(first, at).map((line) => line.trim().replace(/^\/\/ ?/, ""));
  return comment.join(" ");
}

const read = new Map<string, readonly string[]>();

function linesOf(file: string): readonly string[] {
  const lines = read.get(file) ?? readFileSync(PROTO + file, "utf8").split("\n");
  read.set(file, lines);
  return lines;
}

/** The comment of an RPC. */
export function commentOfMethod(method: DescMethod): string {
  return commentAbove(method.parent.file.proto.name, new RegExp(`^ {2}rpc ${method.name}\\(`));
}

/** The comment of an enum's value. */
export function commentOfValue(value: DescEnumValue): string {
  return commentAbove(value.parent.file.proto.name, new RegExp(`^ {2}${value.name} = `));
}

/** The Reasons whose names, without prefix, stand in a text. */
export function reasonsIn(text: string): Reason[] {
  return [...text.matchAll(/\b[A-Z][A-Z_]{3,}\b/g)].flatMap(([word]) => {
    const value = ReasonSchema.values.find((value) => value.localName === word);
    return value === undefined ? [] : [value.number as Reason];
  });
}

/** The Reasons with which a call of any RPC with this access rule can fail, by the words of the contract. */
export function reasonsOfAccess(access: Access): Reason[] {
  const value = AccessSchema.value[access];
  if (value === undefined) throw new Error(`no access ${access}`);
  const own = reasonsIn(commentOfValue(value));
  return access === Access.OPEN ? own : [...reasonsOfAccess(Access.OPEN), ...own];
}

/** All Reasons with which an RPC can fail, by the words of the contract. */
export function documentedReasons(method: DescMethod): Set<Reason> {
  const { access, failsWith } = getOption(method, rule);
  return new Set([...reasonsOfAccess(access), ...failsWith]);
}

/** The metadata keys that a refusal with this Reason has, by the words of the contract. */
export function documentedMetadata(reason: Reason): string[] {
  const value = ReasonSchema.value[reason];
  if (value === undefined) throw new Error(`no reason ${reason}`);
  const list = /Metadata: ([a-z_, ]+)\./.exec(commentOfValue(value))?.[1] ?? "";
  return list === "" ? [] : list.split(", ").sort();
}

/** The rules that the comment of a Reason lists behind "The rule is one of", in that order. */
export function documentedRules(comment: string): string[] {
  const [, list = ""] = /The rule is one of (.*)/.exec(comment) ?? [];
  const words = [...list.replaceAll(/\([^)]*\)/g, "").matchAll(/`([a-z_]+)`/g)];
  return words.map(([, word = ""]) => word);
}
