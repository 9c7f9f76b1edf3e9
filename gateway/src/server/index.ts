// Server: from HTTP requests to operations, and from results to HTTP responses.

export { CONSISTENCY_RESPONSE_HEADERS } from './consistency-headers.js';
// Apollo Sandbox and GraphiQL.
export { serveExplorerPages } from './explorer-pages.js';
// Runs a GraphQL request on the loaded graph (with consistency-headers, and client-key for fair planning).
export { GraphQLHandler } from './graphql-handler.js';
