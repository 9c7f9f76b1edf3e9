import { ConfigurationError } from '@tributary/server';
import { type Subgraph, withoutCredentials } from '../subgraph/index.js';
import { CompositionError, composeSchemas } from './compose-schemas.js';

/**
 * Reads the schemas of subgraphs once and composes them.
 *
 * @param subgraphs with credentials in their URLs, if they need any; the supergraph has none of them
 * @param read reads the schema of one subgraph
 * @returns the supergraph, as SDL
 * @throws ConfigurationError that lists every reason, one on each line
 */
export async function composeOnce(
  subgraphs: readonly Subgraph[],
  read: (subgraph: Subgraph) => Promise<string>,
): Promise<string> {
  const schemas = new Map<string, string>();
  const failures: string[] = [];
  const reads = subgraphs.map((subgraph) =>
    read(subgraph).then(
      (schema) => schemas.set(subgraph.name, schema),
      (error: Error) => failures.push(`${subgraph.name} at ${withoutCredentials(subgraph).url}: ${error.message}`),
    ),
  );
  await Promise.all(reads);
  if (failures.length > 0) throw problem('a schema could not be read', failures);
  try {
    return await composeSchemas(subgraphs.map(withoutCredentials), schemas);
  } catch (error) {
    throw error instanceof CompositionError ? problem('the schemas do not compose', error.reasons) : error;
  }
}

function problem(what: string, reasons: readonly string[]): ConfigurationError {
  return new ConfigurationError(`${what}\n${reasons.map((reason) => `  ${reason}`).join('\n')}`);
}
