import { DEFAULT_SUPPORTED_SUPERGRAPH_FEATURES, Supergraph } from '@apollo/federation-internals';
import type { GraphQLSchema } from 'graphql';

/**
 * Features that this gateway implements. A supergraph that needs others for execution or security is refused: `@authenticated` for example,
 * which nothing here would enforce.
 */
const SUPPORTED_FEATURES = new Set([...DEFAULT_SUPPORTED_SUPERGRAPH_FEATURES, 'https://specs.apollo.dev/context/v0.1']);

/** Reads the schema that clients see from a supergraph's SDL. @throws when this gateway cannot serve the supergraph */
export function toApiSchema(supergraphSdl: string): GraphQLSchema {
  const supergraph = Supergraph.build(supergraphSdl, {
    supportedFeatures: SUPPORTED_FEATURES,
    validateSupergraph: process.env.NODE_ENV !== 'production',
  });
  return supergraph.apiSchema().toGraphQLJSSchema();
}
