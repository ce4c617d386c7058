import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import type { Logger } from "pino";
import type { Clock } from "../../core/clock.ts";
import { ConfigError, type ConfigMistake } from "../../core/config.ts";

/** The PEM files of a server's certificate chain and private key. */
export type TlsFiles = { readonly certFile: string; readonly keyFile: string };

/** A certificate chain and its private key, which fit together. */
export type Certificate = { readonly cert: Buffer; readonly key: Buffer };

/** Looks after new TLS files. */
export type TlsKeeper = {
  /** Reads the files now. Never rejects: what is wrong with them is logged, and the certificate stays the one there was. */
  reload(): Promise<void>;
  stop(): void;
};

// How often the files are looked at, for those who replace them without telling.
const CHECK_MS = 60_000;

/**
 * Reads the files that a server starts with.
 *
 * @throws ConfigError if one can't be read, or they don't fit together
 */
export function readCertificate({ certFile, keyFile }: TlsFiles): Certificate {
  const mistakes: ConfigMistake[] = [];
  const read = (path: string, file: string) => {
    try {
      return readFileSync(file);
    } catch {
      mistakes.push({ path, expected: "a readable PEM file", source: file });
      return;
    }
  };
  const [cert, key] = [read("tls.certFile", certFile), read("tls.keyFile", keyFile)];
  if (cert === undefined || key === undefined) throw new ConfigError(mistakes);
  try {
    checkCertificate({ cert, key });
  } catch {
    const expected = "a certificate chain and the private key of its first certificate, as PEM without a passphrase";
    throw new ConfigError([{ path: "tls", expected, source: certFile }]);
  }
  return { cert, key };
}

/**
 * Looks at the files once a minute, and applies what is in them when it has changed: so a renewed certificate needs no
 * restart. Files that can't be read or don't fit together (a renewal that has written only one of them) change nothing.
 *
 * The content is compared, not the time, as files may be links that point elsewhere from then on.
 *
 * @param options.current - what is in force
 * @param options.apply - puts another one in force, for new connections
 */
export function keepCertificate(
  files: TlsFiles,
  options: {
    readonly current: Certificate;
    readonly apply: (certificate: Certificate) => void;
    readonly clock: Clock;
    readonly logger: Logger;
  },
): TlsKeeper {
  const { apply, clock, logger } = options;
  let seen: Certificate | undefined = options.current;
  let reloading: Promise<void> | undefined;
  let stopped = false;
  let cancel = clock.setTimer(CHECK_MS, check);

  function check(): void {
    void reload(false).then(() => {
      if (!stopped) cancel = clock.setTimer(CHECK_MS, check);
    });
  }

  /** @param asked - also tell of what was told before */
  async function read(asked: boolean): Promise<void> {
    try {
      const [cert, key] = await Promise.all([readFile(files.certFile), readFile(files.keyFile)]);
      if (stopped) return;
      const same = seen?.cert.equals(cert) === true && seen.key.equals(key);
      if (same && !asked) return;
      seen = { cert, key };
      checkCertificate(seen);
      apply(seen);
      const { validTo } = new X509Certificate(cert);
      logger.info({ certFile: files.certFile, validTo }, "TLS certificate read anew");
    } catch (error) {
      const { code = "" } = error as NodeJS.ErrnoException;
      const next = "the one in force stays; put the certificate chain and its private key there";
      logger.error({ ...files, code }, `the TLS files can't be used: ${next}`);
    }
  }

  function reload(asked: boolean): Promise<void> {
    reloading = (reloading ?? Promise.resolve()).then(() => read(asked));
    return reloading;
  }

  return {
    reload: () => reload(true),
    stop() {
      stopped = true;
      cancel();
    },
  };
}

/** Throws unless the chain can be read and the key is that of its first certificate. */
function checkCertificate({ cert, key }: Certificate): void {
  createSecureContext({ cert, key });
}
