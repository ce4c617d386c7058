import type { ConnectRouter } from "@connectrpc/connect";
import { ResolverService } from "../../gen/omi/registry/v1/resolver_service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { equalBytes } from "../core/bytes.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { UnusableFileError } from "../core/unusable-file.ts";
import type { LogHead } from "../log/log.ts";
import { boundedRequests } from "../rpc/handlers/bounds.ts";
import { type ReadyAnswers, serveReadyAnswers } from "../rpc/ready/ready-answers.ts";
import { checkSchema, type Database, fileAt, isDatabaseError, openForReading } from "../store/database.ts";
import { createReadCore, type ReadCore, type ReadOptions, registryTime } from "./core.ts";
import { decodeEffect } from "./effects.ts";
import { decodeStatement } from "./keyring.ts";
import { registryMigrations } from "./migrations.ts";
import { publishedKeySet } from "./publish-keys.ts";
import { defaultAnswerCacheBytes, Reads } from "./reads.ts";

/** What a reader is made of: the same as its registry's reads. */
export interface ReaderOptions extends ReadOptions {
  /** The registry's SQLite file. */
  databaseFile: string;
}

/** A running reader, to be mounted on a server. */
export interface RegistryReader {
  routes(router: ConnectRouter): void;
  /** Its answers, for the server that it is mounted on. */
  answers: ReadyAnswers;
  /** The registry's key set, for the well-known document. */
  keySet(): Statement;
  /** Resolves when the reader has become unfit, with the reason: it answers nothing any more, and has to be started anew. */
  outdated: Promise<Error>;
  close(): void;
}

/** How many entries of the log are read at a time. */
const pageSize = 256;

/** How often a reader looks at its file when nobody asks, in milliseconds. */
const lookIntervalMs = 1000;

/**
 * Answers a registry's reads in a process of its own, from the registry's file: what one processor can't answer alone. It
 * changes nothing. Before each answer it looks whether the registry has committed anything, so it is never behind a write that
 * somebody was told of; and it goes on while the registry is stopped. It looks once a second as well, so that little has come
 * together when somebody asks, and it notices that another file was put in the place of its own.
 *
 * @throws UnusableFileError if there is no file yet, or the registry that wrote it was of another version or publishes other keys
 */
export function createRegistryReader(options: ReaderOptions): RegistryReader {
  const { databaseFile } = options;
  // Before it is opened: should another one be put in its place just then, that is noticed.
  const file = fileAt(databaseFile);
  const isInPlace = () => fileAt(databaseFile) === file;
  const db = openForReading(databaseFile, registryMigrations);
  try {
    return readerOn(db, isInPlace, options);
  } catch (error) {
    db.close();
    throw error;
  }
}

function readerOn(db: Database, isInPlace: () => boolean, options: ReaderOptions): RegistryReader {
  const core = createReadCore(db, options);
  const follow = createFollower(core, db, (effect, time) => reads.changed(effect, time));
  const outdated = Promise.withResolvers<Error>();
  let refusal: Refusal | undefined;
  const unlessOutdated = (step: () => void) => {
    if (refusal !== undefined) throw refusal;
    try {
      step();
    } catch (error) {
      // Such as an I/O error, which may pass: what was not done is done before the next answer.
      if (isDatabaseError(error)) throw error;
      refusal = new Refusal(Reason.SHUTTING_DOWN, "this process has to be started anew");
      outdated.resolve(error as Error);
      throw refusal;
    }
  };
  const reads = new Reads(core, options.answerCacheBytes ?? defaultAnswerCacheBytes, () => unlessOutdated(follow));
  follow();

  let stopLooking: () => void;
  const look = () => {
    stopLooking = core.clock.setTimer(lookIntervalMs, look);
    try {
      unlessOutdated(() => {
        if (!isInPlace()) throw notTheSame(`${db.name} is not the file any more that it was`);
        follow();
        checkKey(core); // another one may have come into force
      });
    } catch {
      // Whoever asks is told, and whoever waits for `outdated`.
    }
  };
  look();

  const interceptors = [boundedRequests({ allowPlainHttp: core.allowPlainHttp })];
  return {
    routes: (router) => serveReadyAnswers(router, ResolverService.methods, reads, { interceptors }),
    answers: reads,
    keySet: () => publishedKeySet(core.store),
    outdated: outdated.promise,
    close() {
      stopLooking();
      db.close();
    },
  };
}

/**
 * Follows the log that another process writes, without waiting for anything: the returned function tells of every write that was
 * committed before its call, but for those from before the follower was made. While there was none, that is one look at memory
 * that SQLite's connections share. After a write, and when it is called first, it throws UnusableFileError if this process can't
 * answer from the file (any more). If it throws, its next call begins where it failed.
 */
function createFollower(core: ReadCore, db: Database, changed: Reads["changed"]): () => void {
  const { log } = core;
  const version = db.prepare<[], number>("PRAGMA data_version").pluck();
  let seenVersion: number | undefined;
  let seen: Pick<LogHead, "index" | "hash"> = log.head();
  let keysPublished = true;
  return () => {
    const now = version.get();
    if (now === seenVersion) return;
    log.refresh();
    // First, as what another version wrote can't be read.
    checkSchema(db, registryMigrations);
    if (!equalBytes(log.hashAt(BigInt(seen.index)), seen.hash))
      throw notTheSame(`the log in ${db.name} is another one`);
    let count: number;
    do {
      const entries = log.read(seen.index + 1, pageSize);
      for (const entry of entries) {
        const effect = decodeEffect(entry.effectType, entry.effect);
        changed(effect, entry.time);
        keysPublished ||= effect.$typeName === "omi.registry.v1.RegistryKeysPublished";
        seen = entry;
      }
      count = entries.length;
    } while (count === pageSize);
    if (keysPublished) checkKey(core);
    keysPublished = false;
    // What was committed meanwhile has moved the version again.
    seenVersion = now;
  };
}

function notTheSame(problem: string): UnusableFileError {
  return new UnusableFileError(problem, "Start the registry, then its readers anew.");
}

/** @throws UnusableFileError if nobody would believe what this process signs */
function checkKey({ domain, store, keyring, ...core }: ReadCore): void {
  const latest = store.latestKeySet();
  if (latest !== undefined && keyring.signsFor(decodeStatement(latest.statement), registryTime(core))) return;
  throw new UnusableFileError(
    `${domain} does not publish the key that this process would sign with`,
    "Start the registry with this configuration first, then its readers.",
  );
}
