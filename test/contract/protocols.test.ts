import { test } from "vitest";
import { callers } from "./support/callers.ts";
import { expectTheSame } from "./support/same-everywhere.ts";

test.each(Object.entries(callers))("%s: the same bytes, the same outcome", (_, call) => expectTheSame(call));
