import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../core/clock.ts";
import { loadConfig } from "../core/config.ts";
import { systemRandom } from "../core/random.ts";
import { clientConfigSchema } from "../directory/client-config.ts";
import { createConnections } from "../directory/connections.ts";
import { rebuildRegistry } from "../operator/commands.ts";
import { meshSize, prepareMesh } from "../operator/mesh.ts";
import { startNatsServer } from "../operator/nats-server.ts";
import { freePorts, startMesh } from "../operator/processes.ts";
import { Narrator, type Print } from "./narrator.ts";
import { playScenario } from "./scenario.ts";
import { newKey } from "./vendor.ts";

/**
 * Plays the four workflows on processes of their own with temporary data, and tells them.
 *
 * @param options.nats events travel over a nats-server, which must be installed, instead of by Watch
 * @returns true if every outcome, refusals included, was as expected
 */
export async function playDemo(print: Print, options: { nats?: boolean } = {}): Promise<boolean> {
  const begin = systemClock.now();
  const folder = mkdtempSync(join(tmpdir(), "omi-demo-"));
  try {
    const narrator = new Narrator(print);
    const stranger = { domain: "stranger.test", key: newKey() };
    const ports = await freePorts(meshSize);
    const [natsPort = 0] = await freePorts(1);
    const nats = options.nats === true ? await startNatsServer(folder, natsPort) : undefined;
    const mesh = prepareMesh(folder, {
      ports,
      random: systemRandom,
      viewMaxAgeSeconds: 1,
      ...(nats === undefined ? {} : { natsServer: nats.address }),
      strangers: [{ ...stranger, port: ports[0] ?? 0 }],
    });
    narrator.chapter("A mesh of separate processes");
    if (nats !== undefined) narrator.say(`events travel over NATS JetStream at ${nats.address}`);
    const running = await startMesh(mesh).catch(async (error: unknown) => {
      await nats?.stop();
      throw error;
    });
    try {
      for (const { name, domain, port, process } of running.running) {
        narrator.say(`${name.padEnd(14)} ${domain.padEnd(18)} 127.0.0.1:${port}  process ${process.pid}`);
      }
      const config = loadConfig(clientConfigSchema, { file: mesh.clientFile, env: {}, prefix: "OMI_" });
      const connections = createConnections(config, { clock: systemClock, random: systemRandom });
      await playScenario({ connections, narrator, stranger }).catch((error: unknown) => narrator.broke(error));
      connections.close();
    } finally {
      await running.stop();
      await nats?.stop();
    }
    const report = rebuildRegistry(join(folder, "registry", "registry.db"), () => {});
    narrator.expect(`all tables rebuilt from ${report.entries} log entries, equal to the live ones`, report.equal);
    const { passed, failed } = narrator.result();
    const took = ((systemClock.now() - begin) / 1000).toFixed(1);
    print(`\n${passed} outcomes as expected, ${failed.length} not, in ${took} s.`);
    for (const failure of failed) print(`  ✗ ${failure}`);
    return failed.length === 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
