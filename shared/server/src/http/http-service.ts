import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify';
import type { Logger } from 'pino';
import { collectDefaultMetrics, Histogram, Registry } from 'prom-client';
import { Clocks } from '../process/clocks.js';
import { CLOSING_MS, Closing } from '../process/closing.js';
import { isOneOfSeveral, metricsReader } from '../process/processes.js';
import { exposeUnexpectedErrors } from '../process/unexpected-errors.js';
import { AllowedMethods } from './allowed-methods.js';
import { clientErrorHandler } from './client-errors.js';
import { refusePath, respondWithErrors } from './error-responses.js';
import { Health, type Readiness, serveHealth } from './health.js';
import { readText } from './request-body.js';
import { Servers } from './servers.js';
import { dropMalformedTraceHeaders } from './trace-context.js';
import { UnansweredRequests } from './unanswered-requests.js';

/** How long running requests may take when a service is closed. */
const SHUTDOWN_GRACE_MS = 10_000;
/** The most that `close` takes, besides `delayMs` and `patienceMs`. */
export const CLOSE_MS = SHUTDOWN_GRACE_MS + CLOSING_MS;

export interface HttpServiceOptions {
  readonly name: string;
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
  readonly logger: Logger;
  readonly readiness: () => Promise<Readiness>;
  /** Addresses and networks of proxies whose `X-Forwarded-For` is trusted; any other peer counts as the client. */
  readonly trustedProxies?: readonly string[] | undefined;
  /** An existing registry; the service adds its own metrics. */
  readonly metrics?: Registry | undefined;
}

/** An HTTP server with `/health/live`, `/health/ready` and `/metrics`; routes are added to `app` before `listen`. */
export interface HttpService {
  readonly app: FastifyInstance;
  readonly metrics: Registry;
  /** What `/health/ready` reports, besides `readiness`. */
  readonly health: Health;
  /** Clocks that this process's clock is compared with. */
  readonly clocks: Clocks;
  /** @returns the URL it listens on, without a trailing slash */
  listen(): Promise<string>;
  /**
   * Adds a part that is closed after the last request. Parts are closed in reverse order; one that hangs is logged and abandoned.
   *
   * @param name what is closed, for the log: `consumers`
   */
  onClose(name: string, close: () => unknown): void;
  /**
   * Stops accepting connections, waits for running requests (at most 10 s; then they get an error response), closes every
   * connection, and then the parts of the service, which takes 3.5 s at most.
   *
   * @param options.delayMs how long it still accepts connections while `/health/ready` fails
   * @param options.patienceMs how long a client may send one more request on a keep-alive connection
   */
  close(options?: { readonly delayMs?: number; readonly patienceMs?: number }): Promise<void>;
}

/** Creates an HTTP service; it accepts connections after `listen`. */
export function createHttpService(options: HttpServiceOptions): HttpService {
  const { name, logger } = options;
  const servers = new Servers(clientErrorHandler(logger));
  const app = createApp(options, servers);
  const metrics = options.metrics ?? new Registry();
  metrics.setDefaultLabels({ service: name });
  collectDefaultMetrics({ register: metrics });
  const requests = new UnansweredRequests();
  requests.track(app);
  const allowedMethods = new AllowedMethods();
  allowedMethods.track(app);
  addHeaders(app, servers);
  measureRequests(app, metrics);
  respondWithErrors(app, name, allowedMethods);

  const closing = new Closing(logger);
  const health = new Health();
  serveHealth(app, { name, health, readiness: options.readiness, isDraining: () => servers.draining });
  const clocks = new Clocks(logger, metrics);
  health.add({ name: 'clocks', required: false, check: () => clocks.problem });
  closing.add('clocks', () => clocks.stop());
  serveMetrics(app, metrics);

  return {
    app,
    metrics,
    health,
    clocks,
    onClose: (part, close) => closing.add(part, close),
    async listen() {
      const url = await app.listen({ host: options.host, port: options.port });
      if (options.host === 'localhost') await servers.listenAtAllOf(options.host);
      logger.info({ url }, `${name} listens`);
      // "localhost" listens on IPv4 and IPv6; the name is what a person types.
      return options.host === 'localhost' ? url.replace(/\[::1\]|127\.0\.0\.1/, 'localhost') : url;
    },
    async close({ delayMs = 0, patienceMs = 0 } = {}) {
      servers.announceEnd();
      if (delayMs > 0) await sleep(delayMs);
      await servers.drain(patienceMs);
      const cut = await requests.finish(SHUTDOWN_GRACE_MS);
      if (cut > 0)
        logger.warn({ requests: cut }, 'requests took too long to wait for; they were answered with an error');
      servers.closeAll();
      // No request can arrive any more: the sockets are closed.
      closing.add('HTTP server', () => app.close());
      await closing.run();
    },
  };
}

/** The Fastify application, which reads bodies as text: the GraphQL endpoint parses them and reports errors in GraphQL's form. */
function createApp({ logger, trustedProxies }: HttpServiceOptions, servers: Servers): FastifyInstance {
  const app = Fastify({
    serverFactory: (handler) => servers.create(handler),
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: (request) => requestId(request.headers['x-request-id']),
    // `servers` does this, for all of them.
    clientErrorHandler: () => undefined,
    frameworkErrors: (_error, request, reply) => refusePath(request as FastifyRequest, reply as FastifyReply),
    // It responds until its connections have ended.
    return503OnClosing: false,
    trustProxy: trustedProxies?.length ? [...trustedProxies] : false,
  }) as unknown as FastifyInstance;
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => readText(payload, done));
  return app;
}

/** Uses the client's request id when it is harmless to log, else a new one. */
function requestId(given: string | string[] | undefined): string {
  return typeof given === 'string' && /^[\w.:-]{1,128}$/.test(given) ? given : randomUUID();
}

/** Drops malformed trace headers of requests, and adds `x-request-id` to responses. */
function addHeaders(app: FastifyInstance, servers: Servers): void {
  app.addHook('onRequest', (request, _reply, done) => {
    dropMalformedTraceHeaders(request.headers);
    done();
  });
  app.addHook('onSend', (request, reply, payload, done) => {
    reply.header('x-request-id', request.id);
    if (servers.draining) reply.header('connection', 'close');
    done(null, payload);
  });
}

/** Adds `http_request_duration_seconds`. */
function measureRequests(app: FastifyInstance, metrics: Registry): void {
  const durations = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time from the request to the last byte of its answer',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [metrics],
  });
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'none';
    durations.observe({ method: request.method, route, status: reply.statusCode }, reply.elapsedTime / 1000);
    done();
  });
}

/** Serves `/metrics`: of this process, or of all that serve behind its port. */
function serveMetrics(app: FastifyInstance, metrics: Registry): void {
  if (!isOneOfSeveral()) exposeUnexpectedErrors(metrics);
  const readMetrics = metricsReader(metrics);
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await readMetrics()));
}
