import { ConfigurationError } from '@tributary/server';
import { pino } from 'pino';
import type { GatewayConfig } from '../config.js';
import { subgraphOptions, withoutCredentials } from '../runtime/supergraph.js';
import type { Subgraph } from '../subgraph/subgraph-client.js';
import { SubgraphDataSource } from '../subgraph/subgraph-data-source.js';
import { CompositionError, composeSchemas } from './compose-schemas.js';
import { readSchema } from './read-schema.js';

/**
 * Composes the supergraph of `SUBGRAPHS` as they answer now.
 *
 * @returns SDL, for `SUPERGRAPH_PATH`
 * @throws ConfigurationError that has every reason, a line each
 */
export async function composeOnce(config: GatewayConfig): Promise<string> {
  const logger = pino({ level: 'silent' });
  const read = async (subgraph: Subgraph) => {
    const dataSource = new SubgraphDataSource(subgraph, subgraphOptions(config), null, logger);
    return readSchema(dataSource).finally(() => dataSource.close());
  };
  const schemas = new Map<string, string>();
  const failures: string[] = [];
  const reads = config.SUBGRAPHS.map((subgraph) =>
    read(subgraph).then(
      (schema) => schemas.set(subgraph.name, schema),
      (error: Error) => failures.push(`${subgraph.name} at ${withoutCredentials(subgraph).url}: ${error.message}`),
    ),
  );
  await Promise.all(reads);
  if (failures.length > 0) throw problem('a schema could not be read', failures);
  try {
    return composeSchemas(config.SUBGRAPHS.map(withoutCredentials), schemas);
  } catch (error) {
    throw error instanceof CompositionError ? problem('the schemas do not compose', error.reasons) : error;
  }
}

function problem(what: string, reasons: readonly string[]): ConfigurationError {
  return new ConfigurationError(`${what}\n${reasons.map((reason) => `  ${reason}`).join('\n')}`);
}
