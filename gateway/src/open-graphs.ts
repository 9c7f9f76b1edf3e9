import { type HttpService, systemTime } from '@tributary/server';
import { type Logger, pino } from 'pino';
import { Gauge } from 'prom-client';
import type { EntityCache } from './cache/index.js';
import { unusableSupergraph } from './check-files.js';
import type { GatewayConfig } from './config.js';
import type { Planners } from './planning/index.js';
import { operationLimits } from './plugins/index.js';
import { type GatewayPlugin, Graph, GraphManager } from './runtime/index.js';
import {
  FetchMetrics,
  HttpSubgraph,
  type HttpSubgraphOptions,
  type Subgraph,
  withoutCredentials,
} from './subgraph/index.js';
import {
  composeOnce,
  FileSource,
  IntrospectingSource,
  readSchema,
  SupergraphFallback,
  type SupergraphSource,
} from './supergraph/index.js';
import { OperationsStore, WarmUp } from './warmup/index.js';

/** Longest time without a failed request after which failures of clients' requests count as over, besides the time limit of a fetch. */
const LONGEST_QUIET_MS = 10_000;

/** What the manager of graphs reports to. */
export type GraphReports = Pick<HttpService, 'metrics' | 'health'> & { readonly logger: Logger };

/** Creates the manager of graphs that the settings describe, with its source of supergraphs and its subgraphs' clients. */
export function openGraphs(
  config: GatewayConfig,
  { logger, metrics, health }: GraphReports,
  cache: EntityCache | null,
  planners: Planners,
  plugins: readonly GatewayPlugin[],
): GraphManager<Graph> {
  const time = systemTime;
  const { SUPERGRAPH_PATH, SUPERGRAPH_POLL_INTERVAL: pollIntervalMs, SUPERGRAPH_FALLBACK } = config;
  const { REDIS_URL, REDIS_PREFIX } = config;
  const subgraphs = config.SUBGRAPHS.map(withoutCredentials);
  const fallback =
    SUPERGRAPH_FALLBACK !== undefined && !SUPERGRAPH_PATH
      ? new SupergraphFallback(SUPERGRAPH_FALLBACK, { url: REDIS_URL, prefix: REDIS_PREFIX }, subgraphs, logger)
      : null;
  const source: SupergraphSource = SUPERGRAPH_PATH
    ? new FileSource(SUPERGRAPH_PATH, pollIntervalMs, logger)
    : new IntrospectingSource({
        subgraphs,
        readSchema: (subgraph) => readSchema(graphs.connect(subgraph)),
        pollIntervalMs,
        logger,
        fallback,
        time,
      });
  const fetchMetrics = new FetchMetrics(metrics, time);
  const options = subgraphOptions(config);
  const { WARM_UP_TIMEOUT: timeoutMs, MAX_OPERATIONS: maxOperations } = config;
  const createWarmUp = () => {
    const { WARM_UP_STORE: place } = config;
    const redis = { url: REDIS_URL, prefix: REDIS_PREFIX };
    const store = place === undefined ? null : new OperationsStore(place, redis, logger, time);
    return new WarmUp({ timeoutMs, maxOperations, store, logger, metrics, time });
  };
  const warmUp = timeoutMs > 0 ? createWarmUp() : null;
  const graphs: GraphManager<Graph> = new GraphManager({
    source,
    fallback,
    warmUp,
    connect: (subgraph) => {
      // The supergraph names the URLs without their credentials.
      const configured = SUPERGRAPH_PATH ? undefined : config.SUBGRAPHS.find(({ name }) => name === subgraph.name);
      return new HttpSubgraph(configured ?? subgraph, options, {
        logger,
        metrics: fetchMetrics,
        onPosition: (name) => cache?.expect(name),
        time,
      });
    },
    createGraph: (parts) =>
      new Graph({
        ...parts,
        planners: planners.of(parts.supergraphSdl),
        cache,
        shareFetches: config.SUBGRAPH_FETCH_DEDUPLICATION,
        mergeFetches: config.ENTITY_BATCHING,
        plugins,
        logger,
        maxOperations: config.MAX_OPERATIONS,
        ...operationOptions(config),
      }),
    logger,
    metrics,
    health,
    time,
  });
  new Gauge({
    name: 'gateway_operations_bytes',
    help: 'Estimated memory of planned operations',
    registers: [metrics],
    aggregator: 'sum',
    collect() {
      this.set(graphs.loaded?.graph.operationsWeight ?? 0);
    },
  });
  return graphs;
}

/** Loads the first graph. @throws when there never can be one: ConfigurationError for a file that cannot be served */
export function loadGraphs(graphs: GraphManager<Graph>, { SUPERGRAPH_PATH }: GatewayConfig): Promise<unknown> {
  return graphs.load().catch((error) => {
    throw SUPERGRAPH_PATH ? unusableSupergraph(SUPERGRAPH_PATH, error) : error;
  });
}

/** How operations are parsed, validated and planned. */
export function operationOptions(config: GatewayConfig) {
  return {
    maxTokens: config.MAX_OPERATION_TOKENS,
    labels: config.OVERRIDE_LABELS,
    introspection: config.INTROSPECTION,
    suggestions: config.SUGGESTIONS,
  };
}

/** The plug-in that bounds the size of documents. */
export function limitOperations(config: GatewayConfig): GatewayPlugin {
  return operationLimits({
    depth: config.MAX_OPERATION_DEPTH,
    aliases: config.MAX_OPERATION_ALIASES,
    fields: config.MAX_OPERATION_FIELDS,
  });
}

/** Composes the supergraph of `SUBGRAPHS`, for the `compose` command. @returns SDL @throws ConfigurationError with every reason */
export function compose(config: GatewayConfig): Promise<string> {
  const logger = pino({ level: 'silent' });
  return composeOnce(config.SUBGRAPHS, (subgraph: Subgraph) => {
    const client = new HttpSubgraph(subgraph, subgraphOptions(config), { logger, metrics: null });
    return readSchema(client).finally(() => client.close());
  });
}

function subgraphOptions(config: GatewayConfig): HttpSubgraphOptions {
  return {
    timeoutMs: config.SUBGRAPH_TIMEOUT,
    maxBytes: config.SUBGRAPH_MAX_RESPONSE,
    breakerFailures: config.CIRCUIT_BREAKER_FAILURES,
    breakerResetMs: config.CIRCUIT_BREAKER_RESET,
    quietMs: config.SUBGRAPH_TIMEOUT + Math.min(config.SUPERGRAPH_POLL_INTERVAL, LONGEST_QUIET_MS),
    headers: config.PROPAGATED_HEADERS,
  };
}
