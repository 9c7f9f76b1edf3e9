// Consistency tokens: what a client has seen, in an opaque text.
export {
  CONSISTENCY_TOKEN_HEADER,
  InvalidTokenError,
  readConsistencyToken,
  writeConsistencyToken,
} from './consistency-token.js';
export {
  MIN_POSITIONS_HEADER,
  POSITIONS_HEADER,
  type ReadPosition,
  readPositions,
  readTouches,
  TOUCHES_HEADER,
  writePositions,
  writeTouches,
} from './positions-header.js';
export type { Touch, Touches, TouchListener } from './touches.js';
