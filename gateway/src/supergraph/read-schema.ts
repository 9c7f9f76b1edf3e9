import { SERVICE_DEFINITION_QUERY } from '@apollo/gateway';
import type { JsonObject } from '../lib/json.js';
import type { HttpSubgraph } from '../subgraph/index.js';

/** Reads the schema of a subgraph. @returns SDL @throws when the subgraph does not respond, or has no `_service { sdl }` */
export async function readSchema(subgraph: Pick<HttpSubgraph, 'query'>): Promise<string> {
  const { data, errors } = await subgraph.query(SERVICE_DEFINITION_QUERY);
  const sdl = (data?._service as JsonObject | undefined)?.sdl;
  if (errors || typeof sdl !== 'string') throw new Error(errors?.[0]?.message ?? 'It did not say its schema.');
  return sdl;
}
