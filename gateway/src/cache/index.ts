// The cache of entities and root fields: look-ups with single flight, requirements on freshness, outcomes of mutations.

// What may be cached, by `@cacheControl`, and which entities a result depends on.
export { type CachePlan, CachePolicy } from './cache-control.js';
// An entry, and what it depends on.
export type { CacheEntry, Dependencies, Positions } from './cache-entry.js';
export { EntityCache, type KeysOfSubgraph, type Lookup } from './entity-cache.js';
// Deletes cached personal data that was erased.
export { Erasures } from './erasures.js';
// The changes of all services: decides whether data is current, and how old it may be.
export { InvalidationLog, type InvalidationObserver } from './invalidation-log.js';
export { IoredisClient } from './ioredis-client.js';
// The port to Redis, and its adapter over ioredis.
export type { RedisClient, RedisWrite, RedisWriteResult } from './redis-client.js';
// Where entries are stored: memory-store (L1) in front of redis-store (L2), which redis-guard keeps from delaying requests.
export { TieredStore, type TieredStoreOptions } from './tiered-store.js';
