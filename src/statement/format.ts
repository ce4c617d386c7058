import { Format } from "../../gen/omi/options/v1/options_pb.ts";
import { parseAppId } from "../core/app-id.ts";
import { isDomain } from "../core/domain.ts";
import { isEmail } from "../core/email.ts";
import { isName, isNamespace, MAX_NAME_LENGTH, MAX_NAMESPACE_LENGTH } from "../core/names.ts";
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

/** A format in words. */
export function describeFormat(format: Format): string {
  return (FORMAT_TEXTS as Readonly<Record<number, string>>)[format] ?? "as the contract describes";
}

const FORMAT_TEXTS = {
  [Format.UNSPECIFIED]: "text without control characters",
  [Format.DOMAIN]: "a domain, lower case and without port, e.g. auth.example.org",
  [Format.APP_ID]: "an AppID, e.g. org.omiappreg.alice.business_app.7f8a9d",
  [Format.NAMESPACE]: `2 to ${MAX_NAMESPACE_LENGTH} of a-z, 0-9, - and _, a letter first and - or _ only between two others`,
  [Format.NAME]: `2 to ${MAX_NAME_LENGTH} of a-z, 0-9, - and _, a letter first and - or _ only between two others`,
  [Format.URL]: "an https URL of a domain in its normal form, without default port, user info, query and fragment",
  [Format.KEY_ID]: "a key ID: 43 characters of base64url",
  [Format.EMAIL]: "an e-mail address",
  [Format.PUBLIC_KEY]: "an Ed25519 public key of 32 bytes",
  [Format.NONCE]: "16 random bytes",
  [Format.SHA256]: "a SHA-256 of 32 bytes",
} satisfies Record<Format, string>;

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
