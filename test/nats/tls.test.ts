import { once } from "node:events";
import { copyFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import type { NatsSettings } from "../../src/events/nats/settings.ts";
import { SetupError } from "../../src/events/setup-error.ts";
import { temporaryFolder } from "../support/files.ts";
import { startNats } from "./support/nats-server.ts";
import { publisherTo } from "./support/publishing.ts";

const certFile = fileURLToPath(new URL("../support/tls/cert.pem", import.meta.url));
const keyFile = fileURLToPath(new URL("../support/tls/key.pem", import.meta.url));

/** A server that wants certificates of its clients, and an attempt to connect to it. */
async function started() {
  const nats = await startNats({
    configure({ folder, store, port }) {
      const path = join(folder, "nats.conf");
      const tls = { cert_file: certFile, key_file: keyFile, ca_file: certFile, verify: true };
      writeFileSync(path, JSON.stringify({ listen: `127.0.0.1:${port}`, jetstream: { store_dir: store }, tls }));
      return path;
    },
  });
  return (tls: NatsSettings["tls"] & object) => publisherTo(nats, { tls }).connect(new AbortController().signal);
}

test.each(["caFile", "certFile", "keyFile"] as const)(
  "a missing %s is named, and used once it is there",
  async (which) => {
    const connect = await started();
    const settings = { caFile: certFile, certFile, keyFile };
    const path = join(temporaryFolder(), "a.pem");
    await expect(connect({ ...settings, [which]: path })).rejects.toBeInstanceOf(SetupError);
    await expect(connect({ ...settings, [which]: path })).rejects.toThrow(path);
    copyFileSync(settings[which], path);
    const session = await connect({ ...settings, [which]: path });
    await session.close();
  },
);

test("a connection that is reset before its handshake fails, and nothing else", async () => {
  const server = createServer(async (socket) => {
    socket.on("error", () => {});
    socket.write(`INFO ${JSON.stringify({ version: "2.10.0", tls_required: true, max_payload: 1 })}\r\n`);
    // The client has read that by then: it is in this process, and so are its turns.
    for (let turns = 0; turns < 3; turns++) await new Promise(setImmediate);
    socket.resetAndDestroy();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const tls = { caFile: certFile, certFile, keyFile };
  const publisher = publisherTo({ address: `127.0.0.1:${port}` }, { tls });
  for (let times = 0; times < 10; times++) {
    await expect(publisher.connect(new AbortController().signal)).rejects.toThrow();
  }
});
