// Plans the most used operations on a new supergraph before it serves.

export { WarmUp } from './warm-up.js';
