import http2 from "node:http2";
import net from "node:net";
import { expect, test } from "vitest";
import { never } from "./support/outcomes.ts";
import { cleanUp, start } from "./support/start.ts";

test.each([
  ["closed", (socket: net.Socket) => socket.destroy()],
  ["reset", (socket: net.Socket) => socket.resetAndDestroy()],
])("a caller that dies amid an HTTP/2 call is nobody's error: its connection is %s", async (_, cut) => {
  const entered = Promise.withResolvers<void>();
  const { url, port, log } = await start({
    echo() {
      entered.resolve();
      return new Promise(never);
    },
  });
  const socket = net.connect(port, "127.0.0.1");
  const session = http2.connect(url, { createConnection: () => socket });
  cleanUp(() => session.destroy());
  session.on("error", never);
  const headers = { ":method": "POST", ":path": "/test.v1.EchoService/Echo", "content-type": "application/json" };
  session.request(headers).on("error", never).end('"hello"');
  await entered.promise;
  cut(socket);
  await expect.poll(() => log.find(({ msg }) => msg === "call")).toMatchObject({ outcome: "cut" });
  expect(log.filter(({ level }) => level === "error")).toEqual([]);
});
