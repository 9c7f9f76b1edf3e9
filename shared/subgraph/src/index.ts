export {
  connectionOf,
  encodeCursor,
  type KeysetPosition,
  Page,
  type PageRequest,
  type PositionType,
  pageRequest,
  toInt,
} from './connection.js';
export { MAX_COUNTER, MAX_INT } from './counters.js';
export { databaseCommand, setUpCommand, setUpSettings } from './database-commands.js';
export {
  defineSubgraph,
  runSubgraph,
  type SubgraphConfig,
  type SubgraphConnection,
  type SubgraphDefinition,
  type SubgraphModule,
  type SubgraphOptions,
  type SubgraphParts,
  type SubgraphService,
} from './define-subgraph.js';
export {
  optionalExact,
  optionalLine,
  optionalSearch,
  requireAmount,
  requireId,
  requireIdempotencyKey,
  requireLine,
  requireQuantity,
  requireReference,
  requireText,
} from './input.js';
export { type Clearable, groupedLoader, loaderByArguments, rowLoader } from './loaders.js';
export { money, roundToCents, sumAmounts } from './money.js';
export { Money } from './money-type.js';
export { DELETED_USER, PLACEHOLDER_DATE, UNKNOWN_USER, unknownProduct } from './placeholders.js';
export { buildFederatedSchema } from './schema.js';
export { type DeriveData, type LoadHistory, type SetUpRequest, setUpDatabase } from './set-up-database.js';
export { type Admin, type AdminCopy, SubgraphAdmin, type VerifyResult } from './subgraph-admin.js';
export { createSubgraphService } from './subgraph-service.js';
export { type ReadViewer, signToken, type Viewer, viewerReader } from './viewer.js';
