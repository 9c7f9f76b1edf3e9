import cors from '@fastify/cors';
import type { EventBus } from '@tributary/bus';
import { createHttpService, type HttpService, serveGraphQL } from '@tributary/server';
import type { Logger } from 'pino';
import type { GatewayConfig } from './config.js';
import { openCache } from './open-cache.js';
import { limitOperations, loadGraphs, openGraphs } from './open-graphs.js';
import { Planners } from './planning/index.js';
import { clientQueryDeduplication, explainPlugin, freshnessReport } from './plugins/index.js';
import type { GatewayPlugin } from './runtime/index.js';
import { CONSISTENCY_RESPONSE_HEADERS, GraphQLHandler, serveExplorerPages } from './server/index.js';

/** The gateway: one graph over all subgraphs. It can listen at once, and is ready when it has a supergraph. */
export interface Gateway extends HttpService {
  /** Resolves when there is a supergraph to serve. @throws when there never can be */
  readonly ready: Promise<unknown>;
  /** The position in a service's event log up to which the gateway has received invalidations; 0 when it has received none. */
  watermark(source: string): number;
}

const THIS_MACHINE = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;

/** The longest time, in milliseconds, that requests in progress wait for subgraphs when the gateway closes. Placing an order may take four seconds. */
const REQUEST_GRACE_MS = 4500;

export interface GatewayOptions {
  /** Carries the invalidations of the services; without it, NATS does if `NATS_URL` is set, and nothing is cached otherwise. */
  readonly bus?: EventBus | undefined;
  /** Run around and within each request, in this order, before the gateway's own. */
  readonly plugins?: readonly GatewayPlugin[];
}

/**
 * Creates a gateway, which then can listen.
 *
 * @throws ConfigurationError when SUPERGRAPH_PATH names a file that cannot be served
 */
export async function createGateway(
  config: GatewayConfig,
  logger: Logger,
  { bus, plugins: given = [] }: GatewayOptions = {},
): Promise<Gateway> {
  const plugins = pluginsOf(config, given);
  let graphs: ReturnType<typeof openGraphs> | undefined;
  const service = createHttpService({
    name: 'gateway',
    host: config.HOST,
    port: config.GATEWAY_PORT,
    logger,
    trustedProxies: config.TRUSTED_PROXIES,
    readiness: async () => graphs?.state ?? { ready: false },
  });
  const cache = await openCache(config, logger, service, bus);
  const planners = new Planners({ planner: config.QUERY_PLANNER, timeoutMs: config.PLANNING_TIMEOUT, logger });
  const reports = { logger, metrics: service.metrics, health: service.health };
  const loaded = openGraphs(config, reports, cache, planners, plugins);
  graphs = loaded;
  const handler = new GraphQLHandler(loaded, {
    defaultStalenessMs: config.MAX_STALENESS ?? Number.POSITIVE_INFINITY,
    forwardedHeaders: config.PROPAGATED_HEADERS.map(({ name }) => name),
    cacheEpoch: () => cache?.epoch ?? 0,
    plugins,
    logger,
  });

  // Lets a page on the public web (Apollo's Sandbox) ask a server on this machine. Before CORS, which answers preflights.
  service.app.addHook('onRequest', (request, reply, done) => {
    if (request.headers['access-control-request-private-network'] === 'true') {
      reply.header('access-control-allow-private-network', 'true');
    }
    done();
  });
  await service.app.register(cors, {
    origin: config.CORS_ORIGINS.map((origin) => ({ '*': /^/, localhost: THIS_MACHINE })[origin] ?? origin),
    methods: ['GET', 'POST'],
    exposedHeaders: [...CONSISTENCY_RESPONSE_HEADERS, 'x-request-id', 'retry-after'],
    maxAge: 600,
    // Other OPTIONS requests are answered like preflights.
    strictPreflight: false,
  });
  if (config.EXPLORER) await serveExplorerPages(service.app);
  serveGraphQL(service.app, (request) => handler.run(request));
  service.onClose('supergraph', async () => {
    const closed = loaded.close();
    planners.close();
    await closed;
    handler.close();
  });

  const ready = loadGraphs(loaded, config);
  // A file needs nothing from outside: it is loaded, or refused, before clients can connect.
  if (config.SUPERGRAPH_PATH) {
    await ready.catch(async (error: unknown) => {
      await service.close();
      throw error;
    });
  }

  return {
    ...service,
    ready,
    watermark: (source) => cache?.watermark(source) ?? 0,
    close(options = {}) {
      const { delayMs = 0, patienceMs = 0 } = options;
      loaded.endIn(delayMs + patienceMs + REQUEST_GRACE_MS);
      return service.close(options);
    },
  };
}

/** Your plug-ins, and then the gateway's own, in the order in which they run. */
function pluginsOf(config: GatewayConfig, given: readonly GatewayPlugin[]): GatewayPlugin[] {
  const plugins: GatewayPlugin[] = [
    ...given,
    limitOperations(config),
    // Outside production every client may ask for an explanation; in production, those with the token.
    explainPlugin(config.isProduction ? config.EXPLAIN_TOKEN : null),
    freshnessReport,
  ];
  const requestHeaders = plugins.flatMap(({ requestHeaders = [] }) => requestHeaders.map((name) => name.toLowerCase()));
  return config.CLIENT_QUERY_DEDUPLICATION ? [...plugins, clientQueryDeduplication(requestHeaders)] : plugins;
}
