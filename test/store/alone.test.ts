import { join } from "node:path";
import { expect, test } from "vitest";
import { holdAlone } from "../../src/store/alone.ts";
import { temporaryFolder } from "../support/files.ts";

test("a file is held by one at a time, until it is let go", () => {
  const path = join(temporaryFolder(), "part.db");
  const release = holdAlone(path);
  expect(release).toBeDefined();
  expect(holdAlone(path)).toBeUndefined();
  release?.();
  const again = holdAlone(path);
  expect(again).toBeDefined();
  again?.();
});
