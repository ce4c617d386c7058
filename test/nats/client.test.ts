import { expect, test } from "vitest";
import { connectNats } from "../../src/events/nats/client.ts";
import { startNats } from "./support/nats-server.ts";

test("over a connection that is gone, a subscription ends as it begins", async () => {
  const { address } = await startNats();
  const connection = await connectNats({ servers: [address] }, "article_cms_test");
  await connection.close();
  const taken: unknown[] = [];
  const unsubscribe = connection.subscribe(
    "omi.v1.auth.auth_test.>",
    (data) => taken.push(data),
    (error) => taken.push(error),
  );
  unsubscribe();
  expect(taken).toEqual([]);
});
