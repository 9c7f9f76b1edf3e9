/** What is shown of a deleted user: by the users service, from a copy, and through an order. */
export const DELETED_USER = { name: 'Deleted user', email: 'deleted@deleted.invalid' } as const;

/**
 * What an order shows of a customer whom the service that answers does not know: the users service itself, or a copy that
 * has not received the user yet. A root query for such a user answers null.
 */
export const UNKNOWN_USER = { name: 'Unknown user', email: 'unknown@unknown.invalid' } as const;

/** What an order shows of a product that the service that answers does not know. The SKU is a key, so it holds the id. */
export const unknownProduct = (id: string) => ({ sku: `unknown:${id}`, name: 'Unknown product' });

/** The creation date of a placeholder. */
export const PLACEHOLDER_DATE = new Date(0);
