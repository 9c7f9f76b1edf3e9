// Plans the most used operations on a new supergraph before it serves.

// Stores them beyond the life of the process.
export { OperationsStore } from './operations-store.js';
export { WarmUp } from './warm-up.js';
