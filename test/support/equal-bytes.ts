import { expect } from "vitest";
import { equalBytes } from "../../src/core/bytes.ts";

// What came over the wire may be a Buffer, which no matcher takes for the Uint8Array with the same bytes.
expect.addEqualityTesters([
  (a: unknown, b: unknown) => (a instanceof Uint8Array && b instanceof Uint8Array ? equalBytes(a, b) : undefined),
]);
