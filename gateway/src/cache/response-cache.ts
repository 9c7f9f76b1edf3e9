// The former name of entity-cache.ts, for imports that still use it.
export { EntityCache as ResponseCache, type Lookup } from './entity-cache.js';
