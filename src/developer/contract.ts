import { createRegistry, hasOption, type Registry } from "@bufbuild/protobuf";
import { file_omi_agent_v1_agent } from "../../gen/omi/agent/v1/agent_pb.ts";
import { file_omi_auth_v1_auth } from "../../gen/omi/auth/v1/auth_pb.ts";
import { file_omi_auth_v1_session_service } from "../../gen/omi/auth/v1/session_service_pb.ts";
import { file_omi_auth_v1_token_service } from "../../gen/omi/auth/v1/token_service_pb.ts";
import { file_omi_billing_v1_billing_service } from "../../gen/omi/billing/v1/billing_service_pb.ts";
import { file_omi_event_v1_event } from "../../gen/omi/event/v1/event_pb.ts";
import { signable } from "../../gen/omi/options/v1/options_pb.ts";
import { file_omi_registry_v1_app } from "../../gen/omi/registry/v1/app_pb.ts";
import { file_omi_registry_v1_log } from "../../gen/omi/registry/v1/log_pb.ts";
import { file_omi_registry_v1_namespace } from "../../gen/omi/registry/v1/namespace_pb.ts";
import { file_omi_registry_v1_registry } from "../../gen/omi/registry/v1/registry_pb.ts";
import { file_omi_registry_v1_service } from "../../gen/omi/registry/v1/service_pb.ts";

const contract = createRegistry(
  file_omi_agent_v1_agent,
  file_omi_auth_v1_auth,
  file_omi_auth_v1_session_service,
  file_omi_auth_v1_token_service,
  file_omi_billing_v1_billing_service,
  file_omi_event_v1_event,
  file_omi_registry_v1_app,
  file_omi_registry_v1_log,
  file_omi_registry_v1_namespace,
  file_omi_registry_v1_registry,
  file_omi_registry_v1_service,
);

/** All messages of the contract that travel inside a Statement. */
export const signedMessages: Registry = createRegistry(
  ...[...contract].filter((type) => type.kind === "message" && hasOption(type, signable)),
);

/** The effects in a registry's log, and all other messages of the contract. */
export const messages: Registry = contract;
