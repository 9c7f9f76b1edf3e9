import { SERVICE_DEFINITION_QUERY } from '@apollo/gateway';
import type { GraphQLDataSource } from '@apollo/gateway/dist/datasources/types.js';

/** Reads the schema of a subgraph. @returns SDL @throws when the subgraph does not answer, or has no `_service { sdl }` */
export async function readSchema(dataSource: Pick<GraphQLDataSource, 'process'>): Promise<string> {
  const request = { request: { query: SERVICE_DEFINITION_QUERY } } as Parameters<GraphQLDataSource['process']>[0];
  const { data, errors } = await dataSource.process(request);
  const sdl: unknown = data?._service?.sdl;
  if (errors || typeof sdl !== 'string') throw new Error(errors?.[0]?.message ?? 'It did not say its schema.');
  return sdl;
}
