import type { DescMessage, JsonObject, JsonValue, MessageShape } from "@bufbuild/protobuf";
import { KeyStatus } from "../../gen/omi/registry/v1/app_pb.ts";
import { type Service, ServiceStatusSchema } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { toHex } from "../core/bytes.ts";
import { isoTime, readable } from "../developer/readable.ts";
import type { Verified } from "../directory/verified.ts";
import { statementId } from "../statement/statement.ts";
import { asTable, enumName } from "./text.ts";

/** A message as commands show it: all fields, but for a header, and a Statement in it by its type and ID. */
export async function shown<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): Promise<JsonValue> {
  const showStatement = async (statement: Statement) => reference(statement);
  const json = await readable(schema, message, { showStatement, withEmpty: true });
  const { header: _, ...content } = json as JsonObject;
  return content;
}

/** A verified answer: what it says, and of when it is. */
export async function shownAnswer<Desc extends DescMessage>(
  schema: Desc,
  { value, header, statement }: Verified<MessageShape<Desc>>,
): Promise<JsonValue> {
  return {
    value: await shown(schema, value),
    answer: {
      ...reference(statement),
      signer: header.signer,
      issued_at: isoTime(header.issuedAt),
      expires_at: header.expiresAt === 0n ? null : isoTime(header.expiresAt),
      app_sequence: Number(header.appSequence),
    },
  };
}

function reference(statement: Statement): { type: string; statement_id: string } {
  return { type: statement.type, statement_id: toHex(statementId(statement)) };
}

/** Services in columns. */
export function serviceTable(services: readonly Service[]): string {
  const rows = services.map(({ serviceId, serviceType, status, provider, endpointUrl, keys }) => {
    const active = keys.find((key) => key.status === KeyStatus.ACTIVE)?.keyId ?? "none";
    const grace = keys.length > 1 ? "yes" : "no";
    return [serviceId, serviceType, enumName(ServiceStatusSchema, status), provider, endpointUrl, active, grace];
  });
  return asTable(["SERVICE", "TYPE", "STATUS", "PROVIDER", "ENDPOINT", "ACTIVE KEY", "GRACE"], rows);
}
