import cors from '@fastify/cors';
import type { EventBus } from '@tributary/bus';
import { createHttpService, type HttpService, serveGraphQL } from '@tributary/server';
import type { Logger } from 'pino';
import type { GatewayConfig } from './config.js';
import { openCache } from './open-cache.js';
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
