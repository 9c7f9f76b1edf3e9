import { composeServices } from '@apollo/composition';
import { parse } from 'graphql';
import type { Subgraph } from '../config.js';

/** The schemas of subgraphs (SDL), by name. */
export type Schemas = ReadonlyMap<string, string>;

/** Composes those subgraphs whose schema is known. @returns the supergraph, as SDL @throws when they do not compose */
export function composeSchemas(subgraphs: readonly Subgraph[], schemas: Schemas): string {
  const services = subgraphs.flatMap(({ name, url }) => {
    const schema = schemas.get(name);
    return schema === undefined ? [] : [{ name, url, typeDefs: parse(schema) }];
  });
  const { errors, supergraphSdl } = composeServices(services);
  if (errors) throw new Error(`The schemas do not compose: ${errors.map(({ message }) => message).join(' ')}`);
  return supergraphSdl;
}
