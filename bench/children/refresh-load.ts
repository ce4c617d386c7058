import http from "node:http";
import { childOptions, serveLines } from "./lines.ts";

/** Trades refresh tokens for the next ones, over HTTP/1.1: one user after the other trades, all users at once. */
export interface RefreshLoadOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The body of a request, with `REFRESH_TOKEN` in the token's place. */
  readonly body: string;
  /** The names of the new refresh token in the JSON of an answer, from outside to inside. */
  readonly tokenPath: readonly string[];
  /** One of each user. */
  readonly refreshTokens: readonly string[];
}

const { url, headers, body, tokenPath, refreshTokens } = childOptions<RefreshLoadOptions>();
const agent = new http.Agent({ keepAlive: true, maxSockets: refreshTokens.length });
const current = [...refreshTokens];

function post(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: "POST", agent, headers }, (response) => {
      let answer = "";
      response.on("data", (chunk) => {
        answer += chunk;
      });
      response.on("end", () =>
        response.statusCode === 200 ? resolve(answer) : reject(new Error(`refused: ${response.statusCode} ${answer}`)),
      );
    });
    request.on("error", reject);
    request.end(text);
  });
}

async function refresh(user: number): Promise<void> {
  const answer: unknown = JSON.parse(await post(body.replace("REFRESH_TOKEN", current[user] ?? "")));
  const token = tokenPath.reduce<unknown>((value, name) => (value as Record<string, unknown>)[name], answer);
  if (typeof token !== "string") throw new Error("an answer without a refresh token");
  current[user] = token;
}

await serveLines<{ seconds: number }>({}, async ({ seconds }) => {
  const start = performance.now();
  const end = start + seconds * 1000;
  let count = 0;
  await Promise.all(
    current.map(async (_, user) => {
      while (performance.now() < end) {
        await refresh(user);
        count++;
      }
    }),
  );
  return { rate: (count * 1000) / (performance.now() - start) };
});
