import { expect, test } from "vitest";
import { RequestHeaders } from "../../../src/rpc/http/request-headers.ts";

const given = {
  ":path": "/omi.test.v1.EchoService/Echo",
  authorization: "Bearer one",
  "content-type": "application/proto",
  "set-cookie": ["a=1", "b=2"],
  "x-padded": " two ",
  "x-other-space": "\u00a0two",
};

/** The same as the platform makes them. */
function platformHeaders(): Headers {
  const { ":path": _path, "set-cookie": cookies, ...others } = given;
  const headers = new Headers(others);
  for (const cookie of cookies) headers.append("set-cookie", cookie);
  return headers;
}

test.each<[string, (headers: Headers) => unknown]>([
  ["get", (headers) => ["authorization", "x-padded", "x-other-space", "content-type"].map((name) => headers.get(name))],
  ["get in any case", (headers) => headers.get("Authorization")],
  ["get of several", (headers) => headers.get("set-cookie")],
  ["get of none", (headers) => ["x-none", "constructor", "__proto__"].map((name) => headers.get(name))],
  ["has", (headers) => [headers.has("Authorization"), headers.has("x-none")]],
  ["getSetCookie", (headers) => headers.getSetCookie()],
  ["entries", (headers) => [...headers.entries()]],
  ["keys", (headers) => [...headers.keys()]],
  ["values", (headers) => [...headers.values()]],
  ["iteration", (headers) => [...headers]],
  ["Object.fromEntries", (headers) => Object.fromEntries(headers)],
  ["a copy", (headers) => [...new Headers(headers)]],
  ["a request with them", (headers) => [...new Request("http://a.test", { headers }).headers]],
  [
    "forEach",
    (headers) => {
      const seen: string[] = [];
      headers.forEach((value, name, all) => void seen.push(name, value, `${all === headers}`));
      return seen;
    },
  ],
  [
    "set, after get",
    (headers) => {
      headers.get("authorization");
      headers.set("authorization", "Bearer three");
      return [headers.get("authorization"), [...headers]];
    },
  ],
  [
    "append",
    (headers) => {
      headers.append("authorization", "Bearer three");
      return [headers.get("authorization"), [...headers]];
    },
  ],
  [
    "delete",
    (headers) => {
      headers.delete("authorization");
      return [headers.get("authorization"), [...headers]];
    },
  ],
])("%s is as with the platform's headers", (_what, look) => {
  expect(look(new RequestHeaders(given))).toEqual(look(platformHeaders()));
});

test("a name that is none of a header is refused", () => {
  expect(() => new RequestHeaders(given).get(":path")).toThrow(TypeError);
});
