import { copyFileSync, writeFileSync } from "node:fs";
import http2 from "node:http2";
import { join } from "node:path";
import { connect, type PeerCertificate } from "node:tls";
import { expect, test } from "vitest";
import { ConfigError } from "../../../src/core/config.ts";
import { readCertificate } from "../../../src/rpc/server/tls-files.ts";
import { meshTls } from "../../directory/support.ts";
import { FakeClock } from "../../support/clock.ts";
import { temporaryFolder } from "../../support/files.ts";
import { cleanUp, tls as firstTls, start } from "../support/start.ts";

const first = "OMI test";
const second = "OMI test mesh";

/** A server with TLS files of its own, which can be replaced. */
async function startWithFiles() {
  const folder = temporaryFolder();
  const tls = { certFile: join(folder, "cert.pem"), keyFile: join(folder, "key.pem") };
  const put = ({ certFile, keyFile }: typeof tls) => {
    copyFileSync(certFile, tls.certFile);
    copyFileSync(keyFile, tls.keyFile);
  };
  put(firstTls);
  const clock = new FakeClock();
  const { server, port, log } = await start({}, { tls, clock });
  const errors = () => log.filter(({ level }) => level === "error").length;
  return { tls, put, clock, server, errors, subject: () => subjectAt(port), port };
}

/** The subject of the certificate that a new connection is shown. */
function subjectAt(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols: ["h2"] }, () => {
      const { subject } = socket.getPeerCertificate() as PeerCertificate;
      socket.destroy();
      resolve(String(subject.CN));
    });
    socket.on("error", reject);
  });
}

test("new files are used for new connections, and the old connections go on", async () => {
  const { put, server, subject, port, errors } = await startWithFiles();
  const session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
  cleanUp(() => session.destroy());
  const statusOf = () =>
    new Promise((resolve, reject) => {
      const stream = session.request({ ":path": "/nothing" });
      stream.on("response", (headers) => resolve(headers[":status"])).on("error", reject);
      stream.resume();
    });
  expect(await statusOf()).toBe(404);
  expect(await subject()).toBe(first);

  put(meshTls);
  await server.reloadTls();
  expect(await subject()).toBe(second);
  expect(await statusOf()).toBe(404);
  expect(session.destroyed).toBe(false);
  expect(errors()).toBe(0);
});

test("files that change are noticed by themselves", async () => {
  const { put, clock, subject } = await startWithFiles();
  put(meshTls);
  clock.advance(60);
  let shown = await subject();
  while (shown === first) shown = await subject();
  expect(shown).toBe(second);
});

test.each<[string, (tls: typeof firstTls) => void]>([
  ["a certificate that is none", ({ certFile }) => writeFileSync(certFile, "not a certificate")],
  ["a key that is none", ({ keyFile }) => writeFileSync(keyFile, "not a key")],
  ["a certificate without its key", ({ certFile }) => copyFileSync(meshTls.certFile, certFile)],
  ["an empty file", ({ certFile }) => writeFileSync(certFile, "")],
])("%s is an error in the log, and the old one stays", async (_, damage) => {
  const { tls, put, server, subject, errors } = await startWithFiles();
  damage(tls);
  await server.reloadTls();
  expect(errors()).toBe(1);
  expect(await subject()).toBe(first);
  put(meshTls);
  await server.reloadTls();
  expect(await subject()).toBe(second);
  expect(errors()).toBe(1);
});

test("a bad file is told of once, unless somebody asks again", async () => {
  const { tls, clock, server, errors } = await startWithFiles();
  writeFileSync(tls.certFile, "not a certificate");
  await server.reloadTls();
  for (let minute = 0; minute < 3; minute++) {
    clock.advance(60);
    // Waits behind the look that the clock has begun.
    await server.reloadTls();
  }
  expect(errors()).toBe(4);
});

test("a server does not start with files that can't be used", () => {
  expect(() => readCertificate({ ...firstTls, certFile: meshTls.certFile })).toThrow(ConfigError);
  expect(() => readCertificate({ ...firstTls, keyFile: "/nowhere/key.pem" })).toThrow(ConfigError);
  expect(() => readCertificate({ ...firstTls, keyFile: firstTls.certFile })).toThrow(ConfigError);
});

test("a server without TLS has nothing to read", async () => {
  const { server } = await start();
  await server.reloadTls();
});
