import { create } from "@bufbuild/protobuf";
import { SignUpRequestSchema } from "../../gen/omi/auth/v1/auth_service_pb.ts";
import { type Clock, unixSeconds } from "../core/clock.ts";
import type { Random } from "../core/random.ts";
import { checkBounds } from "../statement/bounds.ts";
import { openDatabase } from "../store/database.ts";
import { WriteQueue } from "../store/write-queue.ts";
import { Tenants } from "../tenancy/tenants.ts";
import { tenantOf } from "./core.ts";
import { authMigrations } from "./migrations.ts";
import { DEFAULT_PASSWORD_COST, hashPassword, type PasswordCost } from "./password.ts";
import { normaliseUserName } from "./user-name.ts";
import { subjectOf, Users } from "./users.ts";

/** Who becomes a user of which app. The bounds are those of a SignUpRequest. */
export type NewUser = { readonly appId: string; readonly userName: string; readonly password: string };

/**
 * Adds a user to an app in an Auth Provider's file, whether strangers may sign up or not. The provider may be running: it
 * reads users from the file, and this write waits for its own. A crash leaves the user there or not.
 *
 * @returns the `sub` of the user's tokens
 * @throws Refusal FIELD_INVALID, TENANT_UNKNOWN, TENANT_TERMINATED, USER_EXISTS
 * @throws UnusableFileError if the file can't be opened, is no database, or is from a newer version
 */
export async function addUser(
  databaseFile: string,
  { appId, userName, password }: NewUser,
  {
    clock,
    random,
    passwordHash = DEFAULT_PASSWORD_COST,
  }: { clock: Clock; random: Random; passwordHash?: PasswordCost },
): Promise<string> {
  checkBounds(SignUpRequestSchema, create(SignUpRequestSchema, { appId, userName, password }));
  const name = normaliseUserName(userName);
  const db = openDatabase(databaseFile, authMigrations);
  const writes = new WriteQueue(db);
  try {
    const tenants = new Tenants(db);
    tenants.active(tenantOf(appId));
    const hash = await hashPassword(password, passwordHash, random);
    const userId = await writes.run("add-user", () => {
      tenants.active(tenantOf(appId));
      return new Users(db, random).add(appId, name, hash, unixSeconds(clock));
    });
    return subjectOf(userId);
  } finally {
    writes.close();
    db.close();
  }
}
