/**
 * The request header in which a gateway sends a subgraph the client's operation name, for the subgraph's logs. It
 * is no part of the operation that the subgraph is sent: operations that differ in their clients' names only are the same.
 */
export const OPERATION_NAME_HEADER = 'x-apollo-operation-name';

/** What is longer is cut. */
export const MAX_OPERATION_NAME = 100;
