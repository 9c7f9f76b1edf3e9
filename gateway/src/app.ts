import cors from '@fastify/cors';
import { type EventBus, NatsBus, reportBus } from '@tributary/bus';
import { createHttpService, type HttpService, serveGraphQL } from '@tributary/server';
import type { Logger } from 'pino';
import { CacheStore } from './cache/cache-store.js';
import { Erasures } from './cache/erasures.js';
import { ResponseCache } from './cache/response-cache.js';
import { Streams } from './cache/streams.js';
import type { GatewayConfig } from './config.js';
import { Supergraph } from './runtime/supergraph.js';
import { CONSISTENCY_RESPONSE_HEADERS } from './server/consistency-headers.js';
import { serveExplorerPages } from './server/explorer-pages.js';

/** The gateway: one graph over all subgraphs. It can listen at once, and is ready when it has a supergraph. */
export interface Gateway extends HttpService {
  /** Resolves when there is a supergraph to serve. @throws when there never can be */
  readonly ready: Promise<unknown>;
  /** The last event of a service that it heard of; 0 when it heard of none. */
  heard(source: string): number;
}

const THIS_MACHINE = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;

/** How long requests that are under way when the gateway closes wait for subgraphs. Placing an order may take four seconds. */
const REQUEST_GRACE_MS = 4500;

/**
 * @param bus what tells of changes in the services; without it, NATS does, or nothing is cached
 * @throws ConfigurationError when SUPERGRAPH_PATH names a file that cannot be served
 */
export async function createGateway(config: GatewayConfig, logger: Logger, bus?: EventBus): Promise<Gateway> {
  let supergraph: Supergraph | undefined;
  const service = createHttpService({
    name: 'gateway',
    host: config.HOST,
    port: config.GATEWAY_PORT,
    logger,
    trustedProxies: config.TRUSTED_PROXIES,
    readiness: async () => supergraph?.state ?? { ready: false },
  });
  const cache = await openCache(config, logger, service, bus);
  const loading = new Supergraph(config, { logger, metrics: service.metrics, health: service.health }, cache);
  supergraph = loading;

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
  serveGraphQL(service.app, (request) => loading.run(request));
  service.onClose('supergraph', () => loading.close());

  const ready = loading.load();
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
    heard: (source) => cache?.heard(source) ?? 0,
    close(options = {}) {
      const { delayMs = 0, patienceMs = 0 } = options;
      loading.endIn(delayMs + patienceMs + REQUEST_GRACE_MS);
      return service.close(options);
    },
  };
}

/** The cache, where there is a way to hear of changes; it is closed with the gateway. */
async function openCache(
  config: GatewayConfig,
  logger: Logger,
  { clocks, health, metrics, onClose }: HttpService,
  givenBus: EventBus | undefined,
): Promise<ResponseCache | null> {
  const { NATS_URL, REDIS_URL, REDIS_PREFIX, CACHE, CACHE_MAX_BYTES, SUBGRAPHS, SUPERGRAPH_PATH } = config;
  if (!CACHE || SUPERGRAPH_PATH || !(givenBus || NATS_URL)) return null;
  const ownBus = givenBus ? null : new NatsBus({ url: NATS_URL as string, name: 'gateway', logger });
  const streams = new Streams(metrics, logger);
  const redis = { redisUrl: REDIS_URL, redisPrefix: REDIS_PREFIX };
  const store = new CacheStore({ maxBytes: CACHE_MAX_BYTES, ...redis, logger, metrics });
  const erasures = new Erasures(store, streams);
  streams.observe(erasures);
  const sources = SUBGRAPHS.map(({ name }) => name);
  const listenedTo = (givenBus ?? ownBus) as EventBus;
  reportBus({ health, metrics }, listenedTo);
  if (REDIS_URL) health.add({ name: 'Redis', required: false, check: () => store.farProblem });
  for (const source of sources) {
    health.add({ name: `source ${source}`, required: false, check: () => streams.problem(source) });
    const effect = 'nothing of a service whose clock is more than 1.5 s behind is cached';
    clocks.add({ source, offsetMs: () => streams.clockOffsetMs(source), effect });
  }
  await streams.listen(listenedTo, sources);
  onClose('cache', async () => {
    streams.stop();
    erasures.close();
    await store.close();
    await ownBus?.close();
  });
  return new ResponseCache(store, streams, metrics);
}
