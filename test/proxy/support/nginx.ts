import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { proxyConf } from "./proxy-conf.ts";

const configuration = (directory: string, http: string) => `
daemon off;
master_process off;
pid ${directory}/nginx.pid;
error_log stderr error;
events {}
http {
  access_log off;
  client_body_temp_path ${directory}/body;
  fastcgi_temp_path ${directory}/fastcgi;
  proxy_temp_path ${directory}/proxy;
  scgi_temp_path ${directory}/scgi;
  uwsgi_temp_path ${directory}/uwsgi;
  ${http}
}
`;

/**
 * Starts nginx with the configuration of the documentation; it stops with the test. The header `x-cache` of what its cache
 * may keep says HIT if it came from there.
 *
 * @param origin - the URL of the part behind it
 * @param served - how: the parameters of `listen`
 * @returns the port
 * @throws if nginx is not installed
 */
export async function startNginx(origin: string, served = ""): Promise<number> {
  if (spawnSync("nginx", ["-v"]).error !== undefined) throw new Error("missing: nginx (Debian package nginx)");
  const directory = mkdtempSync(join(tmpdir(), "omi-nginx-"));
  const port = await freePort();
  const conf = proxyConf({ listen: `127.0.0.1:${port} ${served}`, origin, cacheFolder: join(directory, "cache") });
  writeFileSync(join(directory, "nginx.conf"), configuration(directory, conf));
  const nginx = spawn("nginx", ["-p", directory, "-c", join(directory, "nginx.conf"), "-e", "stderr"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const exited = once(nginx, "exit");
  let complaints = "";
  nginx.stderr.on("data", (chunk) => {
    complaints += chunk;
  });
  onTestFinished(async () => {
    nginx.kill();
    await exited;
    rmSync(directory, { recursive: true });
  });
  while (!(await isListening(port))) {
    if (nginx.exitCode !== null) throw new Error(`nginx did not start: ${complaints}`);
  }
  return port;
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => setTimeout(resolve, 20, false));
  });
}
