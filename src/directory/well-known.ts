import { type JsonValue, toJsonString } from "@bufbuild/protobuf";
import { type DirectoryEntry, DirectoryEntrySchema } from "../../gen/omi/directory/v1/directory_pb.ts";
import type { Clock } from "../core/clock.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import type { Dialer } from "../rpc/client/dial.ts";
import { fetchDocument } from "../rpc/client/fetch-document.ts";
import type { HttpRoute } from "../rpc/http/http-routes.ts";
import { parseEntry } from "./entry.ts";

/** Where a domain describes itself. */
const WELL_KNOWN_PATH = "/.well-known/omi";

/** The greatest size of the document, in bytes: 16 keys and a signed key set fit many times. */
const MAX_DOCUMENT_BYTES = 64 * 1024;

const FETCH_TIMEOUT_MS = 5000;

// Clients keep an entry for as long; see directory.ts.
const CACHE_CONTROL = "public, max-age=300";

/**
 * Serves a party's own directory entry.
 *
 * @param read the entry as it is now, so that new keys are seen at once
 */
export function wellKnownRoute(read: () => DirectoryEntry): HttpRoute {
  return {
    method: "GET",
    path: WELL_KNOWN_PATH,
    handler: () => ({
      headers: {
        "content-type": "application/json",
        "cache-control": CACHE_CONTROL,
        // The document is public, and clients in browsers read it too.
        "access-control-allow-origin": "*",
      },
      body: toJsonString(DirectoryEntrySchema, read()),
    }),
  };
}

/**
 * Reads what a domain says of itself, from `https://<domain>/.well-known/omi`: always with TLS, on 443 unless the dialler is
 * told otherwise, without following redirects.
 *
 * @throws Refusal what fetching the document, parsing it or checking it refuses; FIELD_MISMATCH if it is about another domain
 */
export async function readWellKnown(domain: string, dialer: Dialer, clock: Clock): Promise<DirectoryEntry> {
  const document = await fetchDocument(`https://${domain}${WELL_KNOWN_PATH}`, {
    dialer,
    clock,
    unavailable: Reason.PROVIDER_UNKNOWN,
    maxBytes: MAX_DOCUMENT_BYTES,
    timeoutMs: FETCH_TIMEOUT_MS,
  });
  const entry = parseEntry(parseJson(document), { from: "discovered" });
  if (entry.domain !== domain) {
    throw new Refusal(Reason.FIELD_MISMATCH, "the document is about another domain", { metadata: { field: "domain" } });
  }
  return entry;
}

function parseJson(document: Uint8Array): JsonValue {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(document));
  } catch (cause) {
    throw new Refusal(Reason.MALFORMED, "the document is not JSON", { metadata: { field: "" }, cause });
  }
}
