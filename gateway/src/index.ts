export { createGateway, type Gateway } from './app.js';
export { checkFiles } from './check-files.js';
export { readConfig, settings } from './config.js';
export { withDirectives } from './operation/operations.js';
export { composeLargest, composeSchemas } from './supergraph/compose-schemas.js';
export { supergraphId } from './supergraph/supergraph-id.js';
