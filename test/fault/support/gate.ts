import { connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** What goes through a gate: what the client says, or what the server does. */
export type Direction = "requests" | "answers";

type Pipe = { readonly direction: Direction; readonly from: Socket; readonly to: Socket };

/** A way to a server that a test can close in one direction, so that something has provably not arrived. */
export class Gate {
  readonly port: number;
  readonly #serverPort: number;
  readonly #pipes = new Set<Pipe>();
  readonly #held = new Set<Direction>();

  private constructor(port: number, serverPort: number) {
    this.port = port;
    this.#serverPort = serverPort;
  }

  /** Opens a gate on a port of its own; it ends with the test. */
  static async to(serverPort: number, port: number): Promise<Gate> {
    const gate = new Gate(port, serverPort);
    const server = createServer((socket) => gate.#accept(socket));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", resolve);
    });
    onTestFinished(() => {
      gate.cut();
      server.close();
    });
    return gate;
  }

  /** `host:port` for clients. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Lets nothing through in one direction, on all connections that there are and that come, until {@link open}. */
  hold(direction: Direction): void {
    this.#held.add(direction);
    for (const { direction: of, from, to } of this.#pipes) if (of === direction) from.unpipe(to).pause();
  }

  /** Lets everything through again, also what was held. */
  open(): void {
    for (const { direction, from, to } of this.#pipes) if (this.#held.has(direction)) from.pipe(to);
    this.#held.clear();
  }

  /** Ends all connections. What was held is lost. */
  cut(): void {
    for (const { from } of this.#pipes) from.destroy();
  }

  #accept(client: Socket): void {
    const server = connect(this.#serverPort, "127.0.0.1");
    const pipes: Pipe[] = [
      { direction: "requests", from: client, to: server },
      { direction: "answers", from: server, to: client },
    ];
    for (const pipe of pipes) {
      const { direction, from, to } = pipe;
      this.#pipes.add(pipe);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        this.#pipes.delete(pipe);
        to.destroy();
      });
      if (!this.#held.has(direction)) from.pipe(to);
    }
  }
}
