import { commitFailpoints, rotationFailpoints, terminationFailpoints } from "../tenancy/failpoints.ts";

/** Where the Auth Provider can be cut off. */
export const authFailpoints: readonly string[] = [
  ...commitFailpoints("provision-auth"),
  ...commitFailpoints("keys.adopt"),
  ...commitFailpoints("attempt.count"),
  ...commitFailpoints("attempt.give-back"),
  ...commitFailpoints("sign-up"),
  ...commitFailpoints("sign-in.password"),
  ...commitFailpoints("sign-in"),
  ...commitFailpoints("refresh-token"),
  ...commitFailpoints("sign-out"),
  ...commitFailpoints("service-token"),
  ...commitFailpoints("termination.data"),
  ...rotationFailpoints,
  ...terminationFailpoints,
];
