/**
 * Parameters of SQL whose values SQLite's planner doesn't look at.
 *
 * SQLite (built with STAT4) compiles a query anew for each value that is bound to a bare `?` where the value could lead to
 * another plan: in a query of more than one table, in a LIMIT, in a column that a partial index has a condition on. For the
 * lookups of this project there is one plan, and compiling takes several times as long as reading. The planner doesn't look
 * into a CAST.
 */
export const textParameter = "CAST(? AS TEXT)";

/** See {@link textParameter}. */
export const integerParameter = "CAST(? AS INTEGER)";
