import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { toHex } from "../core/bytes.ts";
import { statementId } from "../statement/statement.ts";

/** One thing that happened in a flow, for whoever wants to see who signs and who checks what. */
export type Step = {
  /**
   * `signed`: the developer signed a statement for `party`; `sent`: it went there; `sent again`: the same bytes, because no
   * answer had come; `verified`: a statement of `party` came and everything about it was right.
   */
  readonly action: "signed" | "sent" | "sent again" | "verified";
  /** The full name of the message in the statement. */
  readonly type: string;
  /** The Statement ID. */
  readonly id: Uint8Array;
  /** The ID of the key that signed the statement. */
  readonly signer: string;
  /** The domain of the other party. */
  readonly party: string;
  /** `verified`: why the key is believed to be the party's. */
  readonly trust?: string;
};

/** Told of each step as it happens. */
export type OnStep = (step: Step) => void;

/** The step in which something happened to `statement`. */
export function stepOf(
  action: Step["action"],
  statement: Statement,
  signer: string,
  party: string,
  trust?: string,
): Step {
  return {
    action,
    type: statement.type,
    id: statementId(statement),
    signer,
    party,
    ...(trust !== undefined && { trust }),
  };
}

/** A step in one line for people. */
export function describeStep({ action, type, id, signer, party, trust }: Step): string {
  const statement = `${type.slice(type.lastIndexOf(".") + 1)} ${toHex(id).slice(0, 12)}`;
  switch (action) {
    case "signed":
      return `signed   ${statement} for ${party} with key ${signer}`;
    case "sent":
      return `sent     ${statement} to ${party}`;
    case "sent again":
      return `sent     ${statement} to ${party} again, the same bytes`;
    case "verified":
      return `verified ${statement} of ${party}, signed with key ${signer}${trust === undefined ? "" : ` (${trust})`}`;
  }
}
