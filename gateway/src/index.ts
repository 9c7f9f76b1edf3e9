export { createGateway, type Gateway } from './app.js';
export { checkFiles } from './check-files.js';
export { readConfig, settings } from './config.js';
export { withDirectives } from './operation/index.js';
export { composeLargest, composeSchemas, supergraphId } from './supergraph/index.js';
