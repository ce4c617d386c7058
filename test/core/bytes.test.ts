import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  bytesWithin,
  concatBytes,
  equalBytes,
  fromBase64Url,
  fromHex,
  toBase64Url,
  toHex,
  utf8,
} from "../../src/core/bytes.ts";

describe("base64url", () => {
  // RFC 4648 section 10, without padding.
  test.each([
    ["", ""],
    ["f", "Zg"],
    ["fo", "Zm8"],
    ["foo", "Zm9v"],
    ["foob", "Zm9vYg"],
    ["fooba", "Zm9vYmE"],
    ["foobar", "Zm9vYmFy"],
  ])("writes and reads %j", (text, encoded) => {
    expect(toBase64Url(utf8(text))).toBe(encoded);
    expect(fromBase64Url(encoded)).toEqual(utf8(text));
  });

  test("uses the alphabet that is safe in URLs", () => {
    expect(toBase64Url(new Uint8Array([0xfb, 0xff, 0xbf]))).toBe("-_-_");
  });

  test.each([
    ["padding", "Zg=="],
    ["one character too many", "Zm9vY"],
    ["leftover bits that are not zero", "Zh"],
    ["leftover bits that are not zero", "Zm9"],
    ["the other alphabet", "+/+/"],
    ["white space", "Zm 9v"],
    ["a line feed", "Zm9v\n"],
    ["a character beyond ASCII", "Zm9ñ"],
    ["a character whose low byte is a digit", "Zm9\u0176"],
  ])("refuses %s", (_, text) => {
    expect(fromBase64Url(text)).toBeUndefined();
  });

  test("agrees with Node's", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const text = toBase64Url(bytes);
        expect(text).toBe(Buffer.from(bytes).toString("base64url"));
        expect(fromBase64Url(text)).toEqual(bytes);
      }),
    );
  });
});

describe("hexadecimal", () => {
  test("agrees with Node's", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const text = toHex(bytes);
        expect(text).toBe(Buffer.from(bytes).toString("hex"));
        expect(fromHex(text)).toEqual(bytes);
      }),
    );
  });

  test.each(["0", "0g", "AB", " 00", "0x00", "00\n"])("refuses %j", (text) => {
    expect(fromHex(text)).toBeUndefined();
  });
});

test("bytes are joined in order", () => {
  expect(concatBytes()).toEqual(new Uint8Array());
  expect(concatBytes(new Uint8Array([1]), new Uint8Array(), new Uint8Array([2, 3]))).toEqual(new Uint8Array([1, 2, 3]));
});

describe("bytes within a bound", () => {
  const tooMany = () => new RangeError("too many");

  test("are read, in however many parts they come", async () => {
    expect(await bytesWithin([], 0, tooMany)).toEqual(new Uint8Array());
    expect(await bytesWithin([utf8("he"), utf8(""), utf8("llo")], 5, tooMany)).toEqual(utf8("hello"));
    const many = Array.from({ length: 200_000 }, () => Uint8Array.of(7));
    expect(await bytesWithin(many, many.length, tooMany)).toEqual(new Uint8Array(many.length).fill(7));
  });

  test("are no longer read where there are more", async () => {
    let given = 0;
    function* endless() {
      for (;;) yield Uint8Array.of(given++);
    }
    await expect(bytesWithin(endless(), 5, tooMany)).rejects.toThrow(RangeError);
    expect(given).toBe(6);
  });
});

test("bytes are equal by content", () => {
  expect(equalBytes(new Uint8Array([1, 2]), new Uint8Array([1, 2]))).toBe(true);
  expect(equalBytes(new Uint8Array([1, 2]), new Uint8Array([1, 3]))).toBe(false);
  expect(equalBytes(new Uint8Array([1, 2]), new Uint8Array([1, 2, 0]))).toBe(false);
});
