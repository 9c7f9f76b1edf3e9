import cors from '@fastify/cors';
import { serveGraphQL } from '@tributary/shared/http/graphql-endpoint';
import { createHttpService, type HttpService } from '@tributary/shared/http/http-service';
import type { Logger } from 'pino';
import type { GatewayConfig } from './config.js';
import { serveExplorerPages } from './http/explorer-pages.js';
import { Supergraph } from './supergraph/supergraph.js';

/** The gateway: one graph over all subgraphs. It listens at once, and is ready when it has a supergraph. */
export interface Gateway extends HttpService {
  /** Resolves when there is a supergraph to serve. @throws when there never can be */
  readonly ready: Promise<unknown>;
}

const THIS_MACHINE = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;

export async function createGateway(config: GatewayConfig, logger: Logger): Promise<Gateway> {
  let supergraph: Supergraph | undefined;
  const service = createHttpService({
    name: 'gateway',
    host: config.HOST,
    port: config.GATEWAY_PORT,
    logger,
    readiness: async () => supergraph?.state ?? { ready: false },
  });
  const loading = new Supergraph(config, logger, service.metrics);
  supergraph = loading;

  // Lets a page on the public web (Apollo's Sandbox) ask a server on this machine. Before CORS, which answers preflights.
  service.app.addHook('onRequest', async (request, reply) => {
    if (request.headers['access-control-request-private-network'] === 'true') {
      reply.header('access-control-allow-private-network', 'true');
    }
  });
  await service.app.register(cors, {
    origin: config.CORS_ORIGINS.map((origin) => ({ '*': /^/, localhost: THIS_MACHINE })[origin] ?? origin),
    methods: ['GET', 'POST'],
    maxAge: 600,
  });
  await serveExplorerPages(service.app);
  serveGraphQL(service.app, (request) => loading.run(request));
  service.app.addHook('onClose', () => loading.close());

  return { ...service, ready: loading.load() };
}
