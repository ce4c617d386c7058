import { Reason, Refusal } from "../../core/refusal.ts";
import type { AppRow, AppState } from "../store.ts";

/**
 * The app that a statement speaks of.
 *
 * @throws Refusal APP_UNKNOWN
 */
export function requireApp<App extends AppState>(app: App | undefined): App {
  if (app === undefined) throw new Refusal(Reason.APP_UNKNOWN, "this registry has no such app");
  return app;
}

/**
 * Only the Master key of an app's namespace changes the app.
 *
 * @throws Refusal SIGNER_NOT_AUTHORIZED
 */
export function requireMaster(app: AppRow, signer: string, field = "header.signer"): void {
  if (signer === app.masterKeyId) return;
  throw new Refusal(Reason.SIGNER_NOT_AUTHORIZED, "only the Master key of the app's namespace may sign this", {
    metadata: { field },
  });
}

/**
 * A key that is brought in must be new here: it never held a role before.
 *
 * @throws Refusal KEY_IN_USE
 */
export function requireUnusedKey(used: boolean, field: string): void {
  if (!used) return;
  throw new Refusal(Reason.KEY_IN_USE, "this key holds, or once held, a role at this registry", {
    metadata: { field },
  });
}

/**
 * Two fields that must say the same.
 *
 * @throws Refusal FIELD_MISMATCH
 */
export function requireSame(same: boolean, field: string, other: string): void {
  if (same) return;
  throw new Refusal(Reason.FIELD_MISMATCH, `${field} differs from ${other}`, { metadata: { field } });
}
