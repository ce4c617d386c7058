import { toBinary } from "@bufbuild/protobuf";
import { type GetHeadsRequest, GetHeadsRequestSchema } from "../../../gen/omi/event/v1/event_service_pb.ts";
import type { RegistryCore } from "../core.ts";
import { signHeads } from "../heads.ts";

/** Reads the heads of the log and of some apps. */
export function getHeads(core: RegistryCore, request: GetHeadsRequest) {
  const query = toBinary(GetHeadsRequestSchema, request, { writeUnknownFields: false });
  return { heads: signHeads(core, request.appIds, { query, knownLogIndex: request.knownLogIndex }) };
}
