import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePorts } from "../src/operator/processes.ts";
import { proxyConf } from "../test/proxy/support/proxy-conf.ts";
import type { Setting } from "./harness.ts";
import { toolsEnvironment } from "./tools.ts";

/**
 * Starts Debian's nginx in front of a part, with the configuration of the documentation but for TLS: over HTTP/2 with prior
 * knowledge, one worker for each processor, and the access log that nginx writes by itself. It stops with the row.
 *
 * @param directory - where it may write
 * @returns its URL
 */
export async function startNginx(
  origin: string,
  directory: string,
  { cleanUp }: Pick<Setting, "cleanUp">,
): Promise<string> {
  const [port = 0] = await freePorts(1);
  const at = (name: string) => join(directory, `nginx-${name}`);
  const http = proxyConf({ listen: `127.0.0.1:${port} http2`, origin, cacheFolder: at("cache") });
  writeFileSync(
    at("conf"),
    `daemon off;
    worker_processes auto;
    pid ${at("pid")};
    error_log stderr error;
    events {}
    http {
      access_log ${at("access.log")};
      ${["client_body", "fastcgi", "proxy", "scgi", "uwsgi"].map((of) => `${of}_temp_path ${at(of)};`).join("\n")}
      ${http}
    }`,
  );
  // The workers of an nginx that root starts are another user.
  chmodSync(directory, 0o711);
  const nginx = spawn("nginx", ["-c", at("conf"), "-e", "stderr"], {
    stdio: ["ignore", "ignore", "inherit"],
    env: toolsEnvironment,
  });
  const exited = once(nginx, "exit");
  cleanUp(async () => {
    nginx.kill();
    await exited;
  });
  for (let tries = 0; tries < 200; tries++) {
    if (await listens(port)) return `http://127.0.0.1:${port}`;
    await sleep(50);
  }
  throw new Error("nginx did not start");
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
