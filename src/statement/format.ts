import { Format } from "../../gen/omi/options/v1/options_pb.ts";
import { parseAppId } from "../core/app-id.ts";
import { isDomain } from "../core/domain.ts";
import { isEmail } from "../core/email.ts";
import { isName, isNamespace } from "../core/names.ts";
import { parseUrl } from "../core/url.ts";
import { publicKeyProblem } from "./crypto.ts";
import { isKeyId } from "./key-id.ts";

/** What formats depend on beside the value. */
export type FormatOptions = {
  /** Hosts whose URLs may have plain http: for development. None if left out. */
  readonly allowPlainHttp?: (host: string) => boolean;
};

/** Tells whether a value that is present has the format. */
export type FormatCheck<Value> = (value: Value, options: FormatOptions) => boolean;

/** The check of a string format; undefined if the format is not one of strings. */
export function stringFormatCheck(format: Format): FormatCheck<string> | undefined {
  return STRING_FORMATS[format];
}

/** The check of a bytes format; undefined if the format is not one of bytes. */
export function bytesFormatCheck(format: Format): FormatCheck<Uint8Array> | undefined {
  return BYTES_FORMATS[format];
}

const STRING_FORMATS: Partial<Record<Format, FormatCheck<string>>> = {
  [Format.UNSPECIFIED]: isPlainText,
  [Format.DOMAIN]: isDomain,
  [Format.APP_ID]: (text) => parseAppId(text) !== undefined,
  [Format.NAMESPACE]: isNamespace,
  [Format.NAME]: isName,
  [Format.URL]: (text, { allowPlainHttp }) => parseUrl(text, allowPlainHttp) !== undefined,
  [Format.KEY_ID]: isKeyId,
  [Format.EMAIL]: isEmail,
};

const BYTES_FORMATS: Partial<Record<Format, FormatCheck<Uint8Array>>> = {
  [Format.UNSPECIFIED]: () => true,
  [Format.PUBLIC_KEY]: (bytes) => publicKeyProblem(bytes) === undefined,
  [Format.NONCE]: (bytes) => bytes.length === 16,
  [Format.SHA256]: (bytes) => bytes.length === 32,
};

// Cc, the control characters, but for tab and line feed.
const CONTROL_CHARACTER = /[^\P{Cc}\t\n]/u;

function isPlainText(text: string): boolean {
  return text.isWellFormed() && !CONTROL_CHARACTER.test(text);
}
