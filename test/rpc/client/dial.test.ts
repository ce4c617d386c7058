import { readFileSync } from "node:fs";
import { createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ConfigError } from "../../../src/core/config.ts";
import { Reason } from "../../../src/core/refusal.ts";
import { createTransport } from "../../../src/rpc/client/client.ts";
import { createDialer, type DialerOptions } from "../../../src/rpc/client/dial.ts";
import { isPublicAddress } from "../../../src/rpc/client/public-address.ts";
import { EchoService } from "../support/echo.ts";
import { never, refusalOf } from "../support/outcomes.ts";
import { cleanUp, start, tls } from "../support/start.ts";

const HTTP_VERSIONS = ["1.1", "2"] as const;
const unavailable = Reason.REGISTRY_UNAVAILABLE;
const ca = readFileSync(tls.certFile);

function call(baseUrl: string, options: DialerOptions, httpVersion: "1.1" | "2" = "2"): Promise<unknown> {
  const dialer = createDialer(options);
  const transport = createTransport({ baseUrl, dialer, unavailable, httpVersion });
  cleanUp(() => {
    transport.close();
    dialer.close();
  });
  return createClient(EchoService, transport).echo({ value: "hello" });
}

test.each([
  ["8.8.8.8", true],
  ["2606:4700:4700::1111", true],
  ["0.0.0.0", false],
  ["10.1.2.3", false],
  ["100.64.0.1", false],
  ["127.0.0.1", false],
  ["169.254.169.254", false],
  ["172.31.255.255", false],
  ["172.32.0.1", true],
  ["192.168.1.1", false],
  ["198.18.0.1", false],
  ["224.0.0.1", false],
  ["255.255.255.255", false],
  ["::", false],
  ["::1", false],
  ["::ffff:127.0.0.1", false],
  ["::ffff:8.8.8.8", false],
  ["::7f00:1", false],
  ["64:ff9b::7f00:1", false],
  ["2001::1", false],
  ["2002:7f00:1::", false],
  ["2001:db8::1", false],
  ["fc00::1", false],
  ["fd00:ec2::254", false],
  ["fe80::1", false],
  ["fe80::1%eth0", false],
  ["ff02::1", false],
  ["registry.test", false],
])("%s is on the public Internet: %s", (address, expected) => {
  expect(isPublicAddress(address)).toBe(expected);
});

describe.each(HTTP_VERSIONS)("the dialler, for HTTP/%s", (httpVersion) => {
  test.each([
    ["a loopback address", "https://127.0.0.1", {}],
    ["an IPv6 loopback address", "https://[::1]", {}],
    ["a metadata service", "https://169.254.169.254", {}],
    [
      "a name with a private address",
      "https://registry.test",
      { lookup: async () => [{ address: "10.0.0.1", family: 4 }] },
    ],
    ["a mapped address", "https://registry.test", { lookup: async () => [{ address: "::ffff:127.0.0.1", family: 6 }] }],
    ["another port than 443", "https://registry.test:8443", {}],
    ["no TLS", "http://registry.test", {}],
    ["no TLS, on a private network", "http://registry.test", { allowPrivate: () => true }],
    ["no TLS, although in the hosts table", "http://registry.test", { hosts: { "registry.test": "127.0.0.1:1" } }],
    ["a loopback address, although without TLS", "http://127.0.0.1", { allowPlain: () => true }],
  ] as [string, string, DialerOptions][])("refuses %s", async (_, url, options) => {
    expect((await refusalOf(call(url, options, httpVersion))).reason).toBe(Reason.ADDRESS_NOT_ALLOWED);
  });

  test.each([["registry.test"], ["*.test"]])(
    "follows the hosts table (%s), and verifies the name itself",
    async (pattern) => {
      const { port } = await start({}, { tls, development: false });
      const hosts = { [pattern]: `127.0.0.1:${port}`, "*.example": `127.0.0.1:${port}` };
      expect(await call("https://registry.test", { hosts, ca }, httpVersion)).toMatchObject({ value: "hello" });
      // The certificate is for *.test alone.
      expect((await refusalOf(call("https://registry.example", { hosts, ca }, httpVersion))).reason).toBe(unavailable);
      expect((await refusalOf(call("https://registry.test", { hosts }, httpVersion))).reason).toBe(unavailable);
    },
  );

  test("sends the URL's host, not the dialled one", async () => {
    let host: string | null = null;
    const { port } = await start({
      echo(_, context) {
        host = new URL(context.url).host;
        return {};
      },
    });
    const options = { hosts: { "*.test": `127.0.0.1:${port}` }, allowPlain: () => true };
    await call("http://registry.test:8080", options, httpVersion);
    expect(host).toBe("registry.test:8080");
  });

  test("uses DNS where it may", async () => {
    const { port } = await start();
    const lookup = async (host: string) => (host === "a.internal" ? [{ address: "127.0.0.1", family: 4 }] : []);
    const options = { lookup, allowPlain: () => true, allowPrivate: (host: string) => host === "a.internal" };
    expect(await call(`http://a.internal:${port}`, options, httpVersion)).toMatchObject({ value: "hello" });
    expect((await refusalOf(call(`http://b.internal:${port}`, options, httpVersion))).reason).toBe(
      Reason.ADDRESS_NOT_ALLOWED,
    );
  });

  test("gives up on a connection that takes too long", async () => {
    const options = { lookup: () => new Promise<never>(never), connectTimeoutMs: 20 };
    expect((await refusalOf(call("https://registry.test", options, httpVersion))).reason).toBe(unavailable);
  });

  test("connects no more once it is closed, whatever is called still", async () => {
    const server = await start();
    const dialer = createDialer({ hosts: { "registry.test": new URL(server.url).host }, allowPlain: () => true });
    const transport = createTransport({ baseUrl: "http://registry.test", dialer, unavailable, httpVersion });
    cleanUp(() => transport.close());
    const client = createClient(EchoService, transport);
    await client.echo({ value: "hello" });
    transport.close();
    dialer.close();
    expect((await refusalOf(client.echo({ value: "hello" }))).reason).toBe(unavailable);
  });

  test("says that a name without address is unavailable", async () => {
    const lookup = () => Promise.reject(Object.assign(new Error("no such name"), { code: "ENOTFOUND" }));
    expect((await refusalOf(call("https://registry.test", { lookup }, httpVersion))).reason).toBe(unavailable);
  });
});

test("an exact name wins over a suffix, and a longer suffix over a shorter one", async () => {
  const [a, b, c] = [await start(), await start(), await start()];
  const hosts = {
    "*.test": `127.0.0.1:${a.port}`,
    "*.cms.test": `127.0.0.1:${b.port}`,
    "x.cms.test": `127.0.0.1:${c.port}`,
  };
  for (const host of ["a.b.test", "y.cms.test", "x.cms.test"])
    await call(`http://${host}`, { hosts, allowPlain: () => true });
  expect([a, b, c].map(({ log }) => log.length)).toEqual([1, 1, 1]);
});

test("mistakes in the hosts table are found at once", () => {
  expect(() => createDialer({ hosts: { a: "127.0.0.1", b: "x:99999", c: "x:1" } })).toThrow(
    expect.objectContaining({ mistakes: [expect.anything(), expect.anything()] }),
  );
  expect(() => createDialer({ hosts: { a: "" } })).toThrow(ConfigError);
});
