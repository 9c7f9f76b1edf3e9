// Consistency tokens: what a client has seen, in an opaque text.
export {
  CONSISTENCY_TOKEN_HEADER,
  InvalidTokenError,
  readConsistencyToken,
  writeConsistencyToken,
} from './consistency-token.js';

// Invalidations: which entities events may have changed.
export type { Invalidation, InvalidationListener, Invalidations } from './invalidations.js';

// Headers between gateway and services: read positions and invalidations.
export {
  FORMER_INVALIDATIONS_HEADER,
  INVALIDATIONS_HEADER,
  MIN_POSITIONS_HEADER,
  POSITIONS_HEADER,
  type ReadPosition,
  readInvalidations,
  readPositions,
  writeInvalidations,
  writePositions,
} from './positions-header.js';
