import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/{nats,fault,interop,proxy,package}/**"],
    testTimeout: 60_000,
    // Some tests over real sockets set timers against each other, and may lose on an overloaded machine.
    retry: process.env.CI === undefined ? 0 : 1,
  },
});
