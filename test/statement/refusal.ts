import { isRefusal, reasonName } from "../../src/core/refusal.ts";

/** The refusal that `act` ends in, as its Reason's name and its metadata; undefined if it ends well. */
export async function refusalOf(act: () => unknown): Promise<object | undefined> {
  try {
    await act();
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return { reason: reasonName(error.reason), metadata: error.metadata };
  }
  return undefined;
}
