import { createHash } from 'node:crypto';
import { ApolloGateway } from '@apollo/gateway';
import { type GraphQLRequest, type GraphQLResult, RequestRefusedError } from '@tributary/shared/http/graphql-endpoint';
import { OperationCache } from '@tributary/shared/http/operations';
import { type ExecutionResult, GraphQLError } from 'graphql';
import type { Logger } from 'pino';
import { Gauge, Histogram, type Registry } from 'prom-client';
import type { GatewayConfig } from '../config.js';
import { Engine } from '../engine/engine.js';
import { ComposedSupergraph } from './composed-supergraph.js';
import { PROPAGATED_HEADERS, SubgraphDataSource } from './subgraph-data-source.js';
import { SupergraphFile } from './supergraph-file.js';

/** The supergraph that is served now. */
interface LoadedSupergraph {
  readonly id: string;
  readonly loadedAt: Date;
  readonly operations: OperationCache;
  readonly engine: Engine;
}

/** Loads the supergraph, keeps it current, and runs operations on it. */
export class Supergraph {
  readonly #gateway: ApolloGateway;
  readonly #source: ComposedSupergraph | SupergraphFile;
  /** By subgraph; the newest of each, and those before it, which requests under way may still ask. */
  readonly #dataSources = new Map<string, SubgraphDataSource>();
  readonly #earlierDataSources: SubgraphDataSource[] = [];
  #loaded: LoadedSupergraph | null = null;
  #loading: Promise<unknown> = Promise.resolve();
  #closing = false;

  constructor(config: GatewayConfig, logger: Logger, metrics: Registry) {
    this.#source = config.SUPERGRAPH_PATH
      ? new SupergraphFile(config.SUPERGRAPH_PATH, config.SUPERGRAPH_POLL_INTERVAL, logger)
      : new ComposedSupergraph(config.SUBGRAPHS, config.SUPERGRAPH_POLL_INTERVAL, logger);
    const durations = new Histogram({
      name: 'gateway_subgraph_fetch_duration_seconds',
      help: 'Time that a fetch from a subgraph took',
      labelNames: ['subgraph', 'outcome'] as const,
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers: [metrics],
    });
    const source = this.#source;
    new Gauge({
      name: 'gateway_supergraph_stale',
      help: '1 while the newest supergraph could not be loaded and an older one (or none) is served',
      registers: [metrics],
      collect() {
        this.set(source.problem === null ? 0 : 1);
      },
    });
    // The gateway would send usage figures to Apollo; nobody asked for that here.
    process.env.APOLLO_TELEMETRY_DISABLED ??= 'true';
    this.#gateway = new ApolloGateway({
      supergraphSdl: this.#source,
      logger: apolloLogger(logger),
      buildService: ({ name, url = '' }) => {
        const dataSource = new SubgraphDataSource({ name, url }, config.SUBGRAPH_TIMEOUT, durations);
        const earlier = this.#dataSources.get(name);
        if (earlier) this.#earlierDataSources.push(earlier);
        this.#dataSources.set(name, dataSource);
        return dataSource;
      },
    });
    this.#gateway.onSchemaLoadOrUpdate(({ apiSchema, coreSupergraphSdl }) => {
      const id = createHash('sha256').update(coreSupergraphSdl).digest('hex').slice(0, 12);
      const fetchers = new Map([...this.#dataSources].map(([name, { send }]) => [name, send]));
      const shareFetches = config.SUBGRAPH_FETCH_SHARING === 'on';
      const engine = new Engine({ supergraphSdl: coreSupergraphSdl, apiSchema, fetchers, shareFetches });
      this.#loaded = { id, loadedAt: new Date(), operations: new OperationCache(apiSchema), engine };
      logger.info({ supergraph: id }, 'serving a new supergraph');
    });
  }

  /** Starts to load; resolves when there is something to serve, or when it was closed before. @throws when there never can be */
  load(): Promise<unknown> {
    this.#loading = this.#gateway.load().catch((error) => {
      if (!this.#closing) throw error;
    });
    return this.#loading;
  }

  /** What operators are told. */
  get state() {
    const { problem } = this.#source;
    const loaded = this.#loaded && { id: this.#loaded.id, loadedAt: this.#loaded.loadedAt };
    return { ready: loaded !== null, supergraph: loaded, problem };
  }

  /** Runs one operation; what a subgraph could not give comes as an error beside the rest. */
  async run(request: GraphQLRequest): Promise<GraphQLResult> {
    const loaded = this.#loaded;
    if (!loaded) {
      const why = this.#source.problem ?? 'it is being loaded';
      throw new RequestRefusedError(503, 'SUBGRAPH_UNAVAILABLE', `There is no supergraph to serve yet: ${why}`);
    }
    const { document, errors } = loaded.operations.check(request);
    if (errors.length > 0) return errors;

    try {
      const result = await loaded.engine.run({
        query: request.query,
        document,
        operationName: request.operationName,
        variables: request.variables,
        headers: forwardedHeaders(request),
      });
      return result.data === undefined ? (result.errors ?? []) : (result as ExecutionResult);
    } catch (error) {
      if (error instanceof GraphQLError) return [error];
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#source.stop();
    await this.#loading.catch(() => undefined);
    if (this.#loaded) await this.#gateway.stop();
    const dataSources = [...this.#dataSources.values(), ...this.#earlierDataSources];
    await Promise.all(dataSources.map((dataSource) => dataSource.close()));
  }
}

function forwardedHeaders({ http }: GraphQLRequest): Record<string, string> {
  const headers: Record<string, string> = { 'x-request-id': http.id };
  for (const name of PROPAGATED_HEADERS) {
    const value = http.headers[name];
    if (typeof value === 'string' && name !== 'x-request-id') headers[name] = value;
  }
  return headers;
}

function apolloLogger(logger: Logger) {
  return {
    debug: (message?: unknown) => logger.trace(String(message)),
    info: (message?: unknown) => logger.debug(String(message)),
    warn: (message?: unknown) => logger.debug(String(message)),
    error: (message?: unknown) => logger.error(String(message)),
  };
}
