/** The largest value of GraphQL's `Int` and of PostgreSQL's `integer`. */
export const MAX_INT = 2_147_483_647;

/**
 * Where commands stop counting up. The rest is for what must not fail once it is due: refunds, returns, and the erasure of
 * personal data.
 */
export const MAX_COUNTER = MAX_INT - 1_000_000;
