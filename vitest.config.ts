import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/{nats,fault,interop,proxy,package}/**"],
    testTimeout: 60_000,
  },
});
