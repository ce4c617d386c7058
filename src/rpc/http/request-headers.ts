import type { IncomingHttpHeaders } from "node:http";

/** All that can be done with headers, but for getting one. */
const METHODS = [
  ...(["append", "delete", "entries", "forEach", "getSetCookie", "has", "keys", "set", "values"] as const),
  Symbol.iterator,
] as const;

/**
 * The headers of a request as the web platform has them, made of Node's. Most who look at them get one of them and no more,
 * and to copy all takes longer than what is done with that one: so they are copied once anything else is asked for.
 */
export class RequestHeaders extends Headers {
  /** Node's, until they were copied. */
  #given: IncomingHttpHeaders | undefined;

  constructor(given: IncomingHttpHeaders) {
    super();
    this.#given = given;
  }

  static {
    const { prototype } = Headers;
    const override = (name: keyof Headers, value: unknown) =>
      Object.defineProperty(RequestHeaders.prototype, name, { value, writable: true, configurable: true });
    for (const name of METHODS) {
      const inherited = prototype[name] as (...args: unknown[]) => unknown;
      override(name, function (this: RequestHeaders, ...args: unknown[]) {
        this.#copy();
        return Reflect.apply(inherited, this, args);
      });
    }
    const get = prototype.get;
    override("get", function (this: RequestHeaders, name: string) {
      const value = this.#given?.[name];
      // What has space at its ends is left to the platform, which knows what counts as such.
      if (typeof value === "string" && value.trim() === value && !name.startsWith(":")) return value;
      this.#copy();
      return Reflect.apply(get, this, [name]);
    });
  }

  #copy(): void {
    const given = this.#given;
    if (given === undefined) return;
    this.#given = undefined;
    for (const [name, value = []] of Object.entries(given)) {
      if (name.startsWith(":")) continue;
      for (const one of [value].flat()) this.append(name, one);
    }
  }
}
