import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, renameSync } from "node:fs";
import { create, toBinary } from "@bufbuild/protobuf";
import { EventSchema } from "../../gen/omi/event/v1/event_pb.ts";
import { AppRegisteredSchema, NamespaceClaimedSchema, ServiceBoundSchema } from "../../gen/omi/registry/v1/log_pb.ts";
import { NamespaceStatus } from "../../gen/omi/registry/v1/namespace_pb.ts";
import { StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { Log } from "../../src/log/log.ts";
import { type Effect, encodeEffect } from "../../src/registry/effects.ts";
import { eventOf } from "../../src/registry/event-of.ts";
import { registryMigrations } from "../../src/registry/migrations.ts";
import { Projection } from "../../src/registry/projection.ts";
import { openDatabase } from "../../src/store/database.ts";
import { appIdAt, appsPerNamespace, namespaceAt, serviceAt, servicesPerApp } from "../many.ts";
import { makeWorld, registryDomain, registryKey } from "../world.ts";
import { childOptions, serveLines } from "./lines.ts";

/**
 * Makes the database of a registry with many services: the registry's own log and projection write the same rows as for real
 * statements, with the same sizes. Nobody signed them, though: public keys, IDs and signatures are random bytes, and each
 * Statement's body is that of one real binding. Reads look at none of that.
 */
export interface FillChildOptions {
  readonly databaseFile: string;
  readonly services: number;
}

const { databaseFile, services } = childOptions<FillChildOptions>();
const unfinished = `${databaseFile}.unfinished`;
const db = openDatabase(unfinished, registryMigrations);
// What is not finished is thrown away, so it need not survive anything.
db.pragma("journal_mode = OFF");
db.pragma("synchronous = OFF");
db.pragma("locking_mode = EXCLUSIVE");
db.pragma("cache_size = -400000");
const log = new Log(db);
const projection = new Projection(db);
const [claim, manifest, binding] = makeWorld(1).file.statements.map(({ statement }) =>
  Buffer.from(statement, "base64"),
);
let head = log.head();
const time = Math.floor(Date.now() / 1000);

let drawn = Buffer.alloc(0);
let drawnAt = 0;

/** Random bytes, drawn for many rows at a time: each draw by itself would take longer than writing the row. */
function random(length: number): Uint8Array {
  if (drawnAt + length > drawn.length) {
    drawn = randomBytes(65_536);
    drawnAt = 0;
  }
  drawnAt += length;
  return drawn.subarray(drawnAt - length, drawnAt);
}

/** As `commit` of the registry does it, but for the signature. */
function append(effect: Effect, statement: Uint8Array | undefined, sequence: number): void {
  if (statement === undefined) throw new Error("the world has too few statements");
  const statementId = random(32);
  projection.apply({ time, statementId, statement, effect });
  const facts = eventOf(effect);
  const event = facts?.appId !== undefined && {
    appId: facts.appId,
    sequence,
    statement: eventStatement({ ...facts, sequence: BigInt(sequence), logIndex: BigInt(head.index + 1) }),
  };
  const isPrivate = effect.$typeName === ServiceBoundSchema.typeName;
  const { $typeName: effectType } = effect;
  head = log.append(head, {
    ...{ time, statementId, statement, private: isPrivate, effectType, effect: encodeEffect(effect) },
    ...(event ? { event } : {}),
  });
}

function eventStatement(facts: object): Uint8Array {
  const header = { issuedAt: BigInt(time), signer: registryKey.keyId, appSequence: 1n };
  const data = toBinary(EventSchema, create(EventSchema, { ...facts, header, origin: registryDomain }));
  const { typeName: type } = EventSchema;
  return toBinary(StatementSchema, create(StatementSchema, { version: "1.0", type, data, signature: random(64) }));
}

const batchSize = 100_000;
const provider = "article.cms.test";
for (let start = 0; start < services; start += batchSize) {
  db.transaction(() => {
    for (let index = start; index < Math.min(services, start + batchSize); index++) {
      const { appId, serviceId, slug } = serviceAt(index);
      const app = Math.floor(index / servicesPerApp);
      const ownerNamespace = namespaceAt(app);
      if (index % (servicesPerApp * appsPerNamespace) === 0) {
        const masterPublicKey = random(32);
        append(
          create(NamespaceClaimedSchema, {
            namespace: ownerNamespace,
            status: NamespaceStatus.ACTIVE,
            masterPublicKey,
          }),
          claim,
          0,
        );
      }
      if (index % servicesPerApp === 0) {
        const names = { projectSlug: slug, displayName: `Shop ${app}` };
        append(create(AppRegisteredSchema, { appId: appIdAt(app), ownerNamespace, ...names }), manifest, 1);
      }
      const endpointUrl = `https://${serviceId}.${provider}`;
      append(
        create(ServiceBoundSchema, {
          ...{ appId, serviceId, serviceType: "cms-article", provider, endpointUrl },
          ...{ publicKey: random(32), proofId: random(32) },
        }),
        binding,
        (index % servicesPerApp) + 2,
      );
    }
  })();
}
db.pragma("journal_mode = WAL");
db.close();
// What is not on disk yet would get there while something else is measured.
const file = openSync(unfinished, "r+");
fsyncSync(file);
closeSync(file);
renameSync(unfinished, databaseFile);
await serveLines({}, () => ({}));
