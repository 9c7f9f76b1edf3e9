export { foreignIn } from './data-folder.js';
export { freePort } from './free-port.js';
export { startLocalData } from './local-stack.js';
export { EmbeddedPostgres } from './postgres/embedded-postgres.js';
export { createServiceDatabases } from './postgres/service-databases.js';
export { identifyProcess } from './process-identity.js';
export { findConnections } from './running-stack.js';
export { environmentOf, findServices, portsOf, subgraphsOf } from './services.js';
export { startLocalStack } from './start.js';
