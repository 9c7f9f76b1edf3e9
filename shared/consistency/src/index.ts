// Consistency tokens: what a client has seen, in an opaque text.
export {
  CONSISTENCY_TOKEN_HEADER,
  InvalidTokenError,
  readConsistencyToken,
  writeConsistencyToken,
} from './consistency-token.js';
export type { Invalidation, InvalidationListener, Invalidations } from './invalidations.js';
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
