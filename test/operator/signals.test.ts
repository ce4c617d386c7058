import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:tls";
import { expect, test } from "vitest";
import { meshTls } from "../directory/support.ts";
import { tls } from "../rpc/support/start.ts";
import { end, registryConfig, serve } from "./support.ts";

function subjectAt(port: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().subject.CN);
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

test("SIGHUP makes a part read its certificate again, SIGTERM ends it well", async () => {
  const { folder, file } = registryConfig({}, { port: 0, tls: { certFile: "cert.pem", keyFile: "key.pem" } });
  copyFileSync(tls.certFile, join(folder, "cert.pem"));
  copyFileSync(tls.keyFile, join(folder, "key.pem"));
  const { child, url } = await serve([file]);
  const port = Number(new URL(url).port);
  expect(await subjectAt(port)).toBe("OMI test");
  copyFileSync(meshTls.certFile, join(folder, "cert.pem"));
  copyFileSync(meshTls.keyFile, join(folder, "key.pem"));
  child.kill("SIGHUP");
  let shown = await subjectAt(port);
  while (shown === "OMI test") shown = await subjectAt(port);
  expect(shown).toBe("OMI test mesh");
  expect(await end(child, "SIGTERM")).toEqual([0, null]);
});
