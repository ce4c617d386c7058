import {
  type DescEnum,
  type DescField,
  type DescMessage,
  getOption,
  hasOption,
  type Message,
  type MessageShape,
  ScalarType,
} from "@bufbuild/protobuf";
import {
  type Bounds,
  bounds as boundsOption,
  carries as carriesOption,
  Format,
} from "../../gen/omi/options/v1/options_pb.ts";
import {
  type Parameter,
  ParameterSchema,
  type Statement,
  StatementSchema,
} from "../../gen/omi/statement/v1/statement_pb.ts";
import { Reason } from "../core/refusal.ts";
import { type Breach, below, outOfBounds, refuse } from "./breach.ts";
import { ANY_TYPE, formBreach } from "./form.ts";
import { bytesFormatCheck, describeFormat, type FormatOptions, stringFormatCheck } from "./format.ts";

/** Options of {@link checkBounds}. */
export type BoundsOptions = FormatOptions & {
  /** The path of the message in the request, for the refusal. Empty, the default: the message is the request. */
  readonly field?: string;
};

/**
 * Checks a request's fields, at every depth, against the `bounds` options of the contract; see `Bounds` in
 * `omi/options/v1/options.proto` for what they mean. Beyond them:
 *
 * - a string without a format holds no control characters but tab and line feed;
 * - an enum has a number that the contract defines;
 * - a list of Parameters is sorted by name and names none twice;
 * - a Statement has the form of one and the type that the field carries; its data is left to `openRequest`.
 *
 * @throws Refusal FIELD_INVALID with the field and the rule that it breaks, KEY_INVALID for a public key, or what is wrong
 *   with a Statement
 */
export function checkBounds<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  options: BoundsOptions = {},
): void {
  const breach = messageCheckOf(schema)(message, options);
  if (breach !== undefined) throw refuse(options.field ?? "", breach);
}

type Check<Value> = (value: Value, options: FormatOptions) => Breach | undefined;

const messageChecks = new WeakMap<DescMessage, Check<Message>>();

/** The check of a message, made once from its descriptor. */
function messageCheckOf(schema: DescMessage): Check<Message> {
  let check = messageChecks.get(schema);
  if (check === undefined) {
    check = allOf(schema.fields.map(fieldCheck));
    messageChecks.set(schema, check);
  }
  return check;
}

function fieldCheck(field: DescField): Check<Message> {
  const bounds = getOption(field, boundsOption);
  const read = fieldReader(field);
  const check = field.fieldKind === "list" ? listCheck(field, bounds) : valueCheck(field, bounds);
  const missing = bounds.required ? below(field.name, outOfBounds("required")) : undefined;
  return (message, options) => {
    const value = read(message);
    if (isEmpty(value)) return missing;
    const breach = check(value, options);
    return breach && below(field.name, breach);
  };
}

function listCheck(field: DescField, bounds: Bounds): Check<unknown> {
  const check = valueCheck(field, bounds);
  const isParameterList = field.message?.typeName === ParameterSchema.typeName;
  return (value, options) => {
    const items = value as unknown[];
    if (bounds.maxItems > 0 && items.length > bounds.maxItems)
      return outOfBounds("max_items", `must have at most ${bounds.maxItems} items`);
    for (let i = 0; i < items.length; i++) {
      const breach = check(items[i], options);
      if (breach !== undefined) return below(`[${i}]`, breach);
    }
    return isParameterList ? sortedBreach(items as Parameter[]) : undefined;
  };
}

/** The check of a singular field's value that is present, or of one item of a list. */
function valueCheck(field: DescField, bounds: Bounds): Check<unknown> {
  if (field.fieldKind === "map") throw new TypeError(`${field} is a map, which requests don't have`);
  if (field.message !== undefined) return childCheck(field, field.message) as Check<unknown>;
  if (field.enum !== undefined) return enumCheck(field.enum, bounds) as Check<unknown>;
  switch (field.scalar) {
    case ScalarType.STRING:
      return allOf(stringChecks(field, bounds)) as Check<unknown>;
    case ScalarType.BYTES:
      return allOf(bytesChecks(field, bounds)) as Check<unknown>;
    case ScalarType.BOOL:
      return nothingWrong;
    default:
      return (hasOption(field, boundsOption) ? rangeCheck(bounds) : nothingWrong) as Check<unknown>;
  }
}

function childCheck(field: DescField, child: DescMessage): Check<Message> {
  if (child.typeName === StatementSchema.typeName) {
    const type = hasOption(field, carriesOption) ? getOption(field, carriesOption) : ANY_TYPE;
    return (statement) => formBreach(statement as Statement, type);
  }
  // Looked up when a value comes, as a message may hold itself.
  return (message, options) => messageCheckOf(child)(message, options);
}

function enumCheck(desc: DescEnum, bounds: Bounds): Check<number> {
  return (value) => {
    if (desc.value[value] === undefined) return outOfBounds("enum");
    return value === 0 && bounds.required ? outOfBounds("required") : undefined;
  };
}

function rangeCheck(bounds: Bounds): Check<number | bigint> {
  return (value) => {
    if (value < bounds.min) return outOfBounds("min", `must be at least ${bounds.min}`);
    return bounds.max !== 0n && value > bounds.max ? outOfBounds("max", `must be at most ${bounds.max}`) : undefined;
  };
}

function stringChecks(field: DescField, bounds: Bounds): Check<string>[] {
  const { minLength, maxLength, constant } = bounds;
  const hasFormat = stringFormatCheck(bounds.format);
  if (hasFormat === undefined) throw new TypeError(`${field} is a string and cannot have format ${bounds.format}`);
  const checks: Check<string>[] = [];
  const breaches = breachesOf(bounds);
  if (minLength > 0) checks.push((text) => (isShorter(text, minLength) ? breaches.short : undefined));
  if (maxLength > 0) checks.push((text) => (isLonger(text, maxLength) ? breaches.long : undefined));
  checks.push((text, options) => (hasFormat(text, options) ? undefined : breaches.format));
  if (constant !== "")
    checks.push((text) => (text === constant ? undefined : outOfBounds("constant", `must be "${constant}"`)));
  return checks;
}

function bytesChecks(field: DescField, bounds: Bounds): Check<Uint8Array>[] {
  const { minLength, maxLength } = bounds;
  const hasFormat = bytesFormatCheck(bounds.format);
  if (hasFormat === undefined) throw new TypeError(`${field} is bytes and cannot have format ${bounds.format}`);
  // A key of the wrong length is an invalid key first of all.
  if (bounds.format === Format.PUBLIC_KEY) {
    return [(bytes, options) => (hasFormat(bytes, options) ? undefined : KEY_INVALID)];
  }
  const checks: Check<Uint8Array>[] = [];
  const breaches = breachesOf(bounds);
  if (minLength > 0) checks.push(({ length }) => (length < minLength ? breaches.short : undefined));
  if (maxLength > 0) checks.push(({ length }) => (length > maxLength ? breaches.long : undefined));
  checks.push((bytes, options) => (hasFormat(bytes, options) ? undefined : breaches.format));
  return checks;
}

function breachesOf({ minLength, maxLength, format }: Bounds) {
  return {
    short: outOfBounds("min_length", `must have at least ${minLength} bytes`),
    long: outOfBounds("max_length", `must have at most ${maxLength} bytes`),
    format: outOfBounds("format", `must be ${describeFormat(format)}`),
  };
}

/** The first breach that any of `checks` finds. */
function allOf<Value>(checks: readonly Check<Value>[]): Check<Value> {
  return (value, options) => {
    for (const check of checks) {
      const breach = check(value, options);
      if (breach !== undefined) return breach;
    }
    return undefined;
  };
}

function nothingWrong(): undefined {
  return undefined;
}

const KEY_INVALID: Breach = { reason: Reason.KEY_INVALID, path: "", metadata: {} };

function sortedBreach(parameters: readonly Parameter[]): Breach | undefined {
  for (let i = 1; i < parameters.length; i++) {
    const [previous, next] = [parameters[i - 1], parameters[i]];
    if (previous && next && previous.name >= next.name) return below(`[${i}]`, below("name", outOfBounds("sorted")));
  }
  return undefined;
}

/** How the field's value is read from a message; undefined if another field of its oneof is set. */
function fieldReader(field: DescField): (message: Message) => unknown {
  const { localName, oneof } = field;
  if (oneof === undefined) return (message) => (message as unknown as Record<string, unknown>)[localName];
  return (message) => {
    const choice = (message as unknown as Record<string, { case?: string; value?: unknown }>)[oneof.localName];
    return choice?.case === localName ? choice.value : undefined;
  };
}

function isEmpty(value: unknown): boolean {
  if (Array.isArray(value) || value instanceof Uint8Array) return value.length === 0;
  // Absence, zero as number and as bigint, the empty string, false.
  return !value;
}

// A text's length in UTF-16 is at most its length in UTF-8, and that at most three times the former.
function isShorter(text: string, bytes: number): boolean {
  return text.length < bytes && utf8Length(text) < bytes;
}

function isLonger(text: string, bytes: number): boolean {
  return text.length > bytes || (text.length * 3 > bytes && utf8Length(text) > bytes);
}

/** The length of a text in UTF-8, in bytes. */
function utf8Length(text: string): number {
  let length = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    // A surrogate pair, two units long here, has four bytes: two for each of its units.
    if (unit >= 0x80) length += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
  }
  return length;
}
