/** As much of oidc-provider as the measurements use; it brings no types. */
declare module "oidc-provider" {
  interface Stored {
    save(): Promise<string>;
  }
  interface Grant extends Stored {
    addOIDCScope(scope: string): void;
    addResourceScope(resource: string, scope: string): void;
  }
  export class Provider {
    constructor(issuer: string, configuration: object);
    readonly Client: { find(clientId: string): Promise<object | undefined> };
    readonly Grant: new (
      fields: object,
    ) => Grant;
    readonly RefreshToken: new (
      fields: object,
    ) => Stored;
    readonly AccessToken: new (
      fields: object,
    ) => Stored;
    callback(): import("node:http").RequestListener;
  }
}
