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
import { orAborted } from "../rpc/call/abort.ts";
import { Narrator, type Print } from "./narrator.ts";
import { playScenario } from "./scenario.ts";
import { newKey } from "./vendor.ts";

/**
 * Plays the four workflows on processes of their own with temporary data, and tells them.
 *
 * @param options.nats events travel over a nats-server, which must be installed, instead of by Watch
 * @param signal breaks the demonstration off
 * @returns true if every outcome, refusals included, was as expected
 * @throws the signal's reason if that broke it off; nothing is left behind then either
 */
export async function playDemo(print: Print, options: { nats?: boolean }, signal: AbortSignal): Promise<boolean> {
  const begin = systemClock.now();
  const folder = mkdtempSync(join(tmpdir(), "omi-demo-"));
  try {
    const narrator = new Narrator(print);
    const [natsPort = 0, ...ports] = await freePorts(1 + meshSize);
    const nats = options.nats === true ? await startNatsServer(folder, natsPort) : undefined;
    try {
      await playOnMesh(folder, { ports, natsServer: nats?.address, narrator, signal });
    } finally {
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

type Play = {
  readonly ports: readonly number[];
  readonly natsServer: string | undefined;
  readonly narrator: Narrator;
  readonly signal: AbortSignal;
};

async function playOnMesh(folder: string, { ports, natsServer, narrator, signal }: Play): Promise<void> {
  const stranger = { domain: "stranger.test", key: newKey() };
  const mesh = prepareMesh(folder, {
    ports,
    random: systemRandom,
    viewMaxAgeSeconds: 1,
    ...(natsServer === undefined ? {} : { natsServer }),
    strangers: [{ ...stranger, port: ports[0] ?? 0 }],
  });
  narrator.chapter("A mesh of separate processes");
  if (natsServer !== undefined) narrator.say(`events travel over NATS JetStream at ${natsServer}`);
  const running = await startMesh(mesh, signal);
  try {
    for (const { name, domain, port, process } of running.running) {
      narrator.say(`${name.padEnd(14)} ${domain.padEnd(18)} 127.0.0.1:${port}  process ${process.pid}`);
    }
    const config = loadConfig(clientConfigSchema, { file: mesh.clientFile, env: {}, prefix: "OMI_" });
    const connections = createConnections(config, { clock: systemClock, random: systemRandom });
    try {
      const played = playScenario({ connections, narrator, stranger }).catch((error: unknown) => narrator.broke(error));
      await orAborted(played, signal);
    } finally {
      connections.close();
    }
  } finally {
    await running.stop();
  }
}
