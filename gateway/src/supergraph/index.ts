// The port to the place that supergraphs come from.

export { composeOnce } from './compose-once.js';
// Composition: of schemas that were read before, and once for the `compose` command.
export {
  CompositionError,
  composeLargest,
  composeSchemas,
  type LargestComposition,
  type Schemas,
} from './compose-schemas.js';
// A source that reads a file.
export { FileSource } from './file-source.js';
// A source that composes the schemas of running subgraphs (compose-schemas); steady-schema chooses between releases that alternate.
export { IntrospectingSource, type IntrospectingSourceOptions } from './introspecting-source.js';
export { readSchema } from './read-schema.js';
export { type SchemaChanges, schemaChanges } from './schema-changes.js';
export type { SupergraphSource } from './source.js';
export { subgraphsOf } from './subgraphs-of.js';
// The supergraph that was served last, for starts while a subgraph is down.
export { SupergraphFallback } from './supergraph-fallback.js';
// Facts about a supergraph, for logs and health: its id, its subgraphs, what changed.
export { supergraphId } from './supergraph-id.js';
