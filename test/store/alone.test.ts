import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
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

test("a file stays held when nobody keeps what would let it go", async () => {
  const path = join(temporaryFolder(), "part.db");
  holdAlone(path);
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  for (let round = 0; round < 3; round++) {
    await new Promise(setImmediate);
    collect();
  }
  expect(holdAlone(path)).toBeUndefined();
});
