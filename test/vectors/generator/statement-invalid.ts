import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { RotateServiceKeySchema } from "../../../gen/omi/agent/v1/agent_pb.ts";
import { RotationSchema, SuspendSchema } from "../../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { concatBytes } from "../../../src/core/bytes.ts";
import { signData, signingInput, signStatement, statementId } from "../../../src/statement/statement.ts";
import { exchange, refused } from "./statement.ts";
import * as story from "./story.ts";
import type { VectorFile } from "./vector.ts";

const { master, guardian, rotation, suspension } = story;
const SUSPEND = SuspendSchema.typeName;
const good = signStatement(SuspendSchema, suspension, master);

/** Statements whose form, encoding or signature is wrong. Where an encoding is wrong, the signature is right. */
export function invalidStatementVectors(): VectorFile[] {
  return [...wrongForm(), ...wrongEncoding(), ...wrongNestedForm(), ...wrongSignature()];
}

function wrongForm(): VectorFile[] {
  const { signature } = good;
  const cases: [name: string, description: string, reason: string, field: string, statement: Statement][] = [
    ["version_2_0", "a version that nobody speaks", "VERSION_UNSUPPORTED", "statement", signedAs({ version: "2.0" })],
    ["version_empty", "no version", "VERSION_UNSUPPORTED", "statement", signedAs({ version: "" })],
    ["type_of_same_name", "the type's last part alone", "TYPE_MISMATCH", "statement", signedAs({ type: "Suspend" })],
    [
      "type_url",
      "the type as a URL",
      "TYPE_MISMATCH",
      "statement",
      signedAs({ type: `type.googleapis.com/${SUSPEND}` }),
    ],
    [
      "type_of_another_message",
      "well signed, but for another RPC",
      "TYPE_MISMATCH",
      "statement",
      signStatement(RotateServiceKeySchema, story.rotationOrder, master),
    ],
    ["data_empty", "no data", "FIELD_INVALID", "statement.data", signData(SUSPEND, new Uint8Array(), master)],
    [
      "signature_empty",
      "no signature",
      "FIELD_INVALID",
      "statement.signature",
      exchange(good, { signature: new Uint8Array() }),
    ],
    [
      "signature_of_63_bytes",
      "the last byte of the signature is missing",
      "FIELD_INVALID",
      "statement.signature",
      exchange(good, { signature: signature.slice(0, 63) }),
    ],
    [
      "signature_of_65_bytes",
      "a byte follows the signature",
      "FIELD_INVALID",
      "statement.signature",
      exchange(good, { signature: concatBytes(signature, new Uint8Array(1)) }),
    ],
  ];
  return cases.map(([name, description, reason, field, statement]) =>
    refused(name, description, { step: "open", reason, field }, SUSPEND, statement, master),
  );
}

function wrongEncoding(): VectorFile[] {
  const { data } = good;
  const unknown = new BinaryWriter().tag(99, WireType.Varint).uint32(1).finish();
  const unknownInHeader = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(unknown).finish();
  const serviceId = new BinaryWriter().tag(3, WireType.LengthDelimited).string("articles").finish();
  const cases: [name: string, description: string, reason: string, field: string, data: Uint8Array][] = [
    ["data_truncated", "the last byte of the data is missing", "MALFORMED", "statement", data.slice(0, -1)],
    ["unknown_field", "a field that the message does not define", "UNKNOWN_FIELD", "99", concatBytes(data, unknown)],
    [
      "unknown_field_in_header",
      "a field that the header does not define",
      "UNKNOWN_FIELD",
      "header.99",
      concatBytes(unknownInHeader, data),
    ],
    ["field_out_of_order", "service_id stands first", "NOT_CANONICAL", "statement", concatBytes(serviceId, data)],
    ["field_doubled", "service_id is written twice", "NOT_CANONICAL", "statement", concatBytes(data, serviceId)],
  ];
  return cases.map(([name, description, reason, field, bytes]) => {
    const expected = { step: "open", reason, field } as const;
    return refused(name, description, expected, SUSPEND, signData(SUSPEND, bytes, master), master);
  });
}

function wrongNestedForm(): VectorFile[] {
  const { signedNextPossession, signedEndorsement, service } = story;
  const cases: [name: string, description: string, reason: string, field: string, keyPossession: Statement][] = [
    [
      "nested_type_mismatch",
      "an endorsement where a proof of possession belongs",
      "TYPE_MISMATCH",
      "key_possession",
      signedEndorsement,
    ],
    [
      "nested_version_unsupported",
      "a nested Statement of another version",
      "VERSION_UNSUPPORTED",
      "key_possession",
      exchange(signedNextPossession, { version: "2.0" }),
    ],
    [
      "nested_signature_short",
      "a nested Statement with half a signature",
      "FIELD_INVALID",
      "key_possession.signature",
      exchange(signedNextPossession, { signature: signedNextPossession.signature.slice(0, 32) }),
    ],
  ];
  return cases.map(([name, description, reason, field, keyPossession]) => {
    const statement = signStatement(RotationSchema, { ...rotation, keyPossession }, service);
    return refused(name, description, { step: "open", reason, field }, RotationSchema.typeName, statement, service);
  });
}

function wrongSignature(): VectorFile[] {
  const other = signStatement(SuspendSchema, { ...suspension, serviceId: "billing" }, master);
  const byGuardian = signData(SUSPEND, dataNaming(master.keyId), guardian);
  const cases: [name: string, description: string, statement: Statement][] = [
    ["signature_flipped_bit", "one bit of the signature is flipped", exchange(good, { signature: flipped(good) })],
    ["signature_of_another", "the signature of another Statement", exchange(good, { signature: other.signature })],
    ["signature_by_another_key", "another key signed than the header names", byGuardian],
    ["signature_over_data", "signed is the data alone", exchange(good, { signature: master.sign(good.data) })],
    ["signature_over_id", "signed is the Statement ID", exchange(good, { signature: master.sign(statementId(good)) })],
  ];
  const files = cases.map(([name, description, statement]) =>
    refused(name, description, SIGNATURE_INVALID, SUSPEND, statement, master),
  );
  files.push(
    refused(
      "type_exchanged",
      "the data fits another message too, but the signature covers the type",
      SIGNATURE_INVALID,
      RotateServiceKeySchema.typeName,
      exchange(good, { type: RotateServiceKeySchema.typeName }),
      master,
    ),
    refused(
      "signer_is_another_key",
      "the header names another key than the one that signed and verifies",
      { step: "verify", reason: "SIGNER_UNKNOWN", field: "header.signer" },
      SUSPEND,
      byGuardian,
      guardian,
    ),
  );
  return files;
}

const SIGNATURE_INVALID = { step: "verify", reason: "SIGNATURE_INVALID", field: "statement" } as const;

/** Otherwise right, and signed as it then is. */
function signedAs(members: { version?: string; type?: string }): Statement {
  const changed = exchange(good, members);
  return exchange(changed, { signature: master.sign(signingInput(changed)) });
}

function dataNaming(signer: string): Uint8Array {
  return toBinary(SuspendSchema, create(SuspendSchema, { ...suspension, header: { ...suspension.header, signer } }));
}

function flipped({ signature }: Statement): Uint8Array {
  return signature.map((byte, i) => (i === 10 ? byte ^ 1 : byte));
}
