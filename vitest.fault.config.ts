import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/fault/**/*.test.ts"],
    // The kill loop takes as long as its rounds do, which are a setting.
    testTimeout: 3_600_000,
    fileParallelism: false,
    // Hundreds of processes are started, and need not compile the same files each time.
    env: { NODE_COMPILE_CACHE: join(tmpdir(), "omi-compile-cache") },
    // Lines of progress appear when they are written.
    disableConsoleIntercept: true,
  },
});
