import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify';
import type { Logger } from 'pino';
import { collectDefaultMetrics, Histogram, Registry } from 'prom-client';
import { ApiError, masked } from '../errors/errors.js';
import { DatabaseAwayError, levelOf } from '../errors/failure.js';
import { Clocks } from '../process/clocks.js';
import { CLOSING_MS, Closing } from '../process/closing.js';
import { isOneOfSeveral, metricsReader } from '../process/processes.js';
import { exposeUnexpectedErrors } from '../process/unexpected-errors.js';
import { AllowedMethods } from './allowed-methods.js';
import { clientErrorHandler } from './client-errors.js';
import { Health } from './health.js';
import { Servers } from './servers.js';
import { dropMalformedTraceHeaders } from './trace-context.js';
import { UnansweredRequests } from './unanswered-requests.js';

/** The largest request body that is read, in bytes. */
export const BODY_LIMIT = 1024 * 1024;
/** How much of a body that is too large is read and thrown away, so that the client can read the answer. */
const DRAIN_LIMIT = 32 * 1024 * 1024;
/** How much of a path an error message repeats. */
const MAX_SHOWN_PATH = 200;
/** How long requests under way may take when a service is closed. */
const SHUTDOWN_GRACE_MS = 10_000;
/** The most that `close` takes, besides `delayMs` and `patienceMs`. */
export const CLOSE_MS = SHUTDOWN_GRACE_MS + CLOSING_MS;

/** What a process says of itself at `/health/ready`. */
export interface Readiness {
  readonly ready: boolean;
  readonly [detail: string]: unknown;
}

export interface HttpServiceOptions {
  readonly name: string;
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
  readonly logger: Logger;
  readonly readiness: () => Promise<Readiness>;
  /** Addresses and networks of proxies whose `X-Forwarded-For` is believed; others are taken for the client themselves. */
  readonly trustedProxies?: readonly string[] | undefined;
  /** Metrics that are there already; the service adds its own. */
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
   * Closes a part of the service when requests are over. What was added last is closed first; one that hangs is logged and left behind.
   *
   * @param name what is closed, for the log: `consumers`
   */
  onClose(name: string, close: () => unknown): void;
  /**
   * Stops taking connections, lets requests under way end (at most 10 s; then they are answered with an error), closes every
   * connection, and then the parts of the service, which takes 3.5 s at most.
   *
   * @param options.delayMs how long it takes connections all the same, and says at `/health/ready` that it will not
   * @param options.patienceMs how long clients that keep a connection may still use it, once
   */
  close(options?: { readonly delayMs?: number; readonly patienceMs?: number }): Promise<void>;
}

export function createHttpService(options: HttpServiceOptions): HttpService {
  const { name, logger } = options;
  const servers = new Servers(clientErrorHandler(logger));
  const app = Fastify({
    serverFactory: (handler) => servers.create(handler),
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: (request) => requestId(request.headers['x-request-id']),
    // `servers` does this, for all of them.
    clientErrorHandler: () => undefined,
    frameworkErrors: (_error, request, reply) => refusePath(request as FastifyRequest, reply as FastifyReply),
    // Until its connections have ended it answers.
    return503OnClosing: false,
    trustProxy: options.trustedProxies?.length ? [...options.trustedProxies] : false,
  }) as unknown as FastifyInstance;

  const metrics = options.metrics ?? new Registry();
  metrics.setDefaultLabels({ service: name });
  collectDefaultMetrics({ register: metrics });
  const durations = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time from the request to the last byte of its answer',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [metrics],
  });
  const requests = new UnansweredRequests();
  requests.track(app);
  const allowedMethods = new AllowedMethods();
  allowedMethods.track(app);
  app.addHook('onRequest', (request, _reply, done) => {
    dropMalformedTraceHeaders(request.headers);
    done();
  });
  app.addHook('onSend', (request, reply, payload, done) => {
    reply.header('x-request-id', request.id);
    if (servers.draining) reply.header('connection', 'close');
    done(null, payload);
  });
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'none';
    durations.observe({ method: request.method, route, status: reply.statusCode }, reply.elapsedTime / 1000);
    done();
  });

  // Bodies stay text: the GraphQL endpoint parses them, and says in GraphQL's words what is wrong.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => readText(payload, done));

  app.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const isAway = error instanceof DatabaseAwayError;
    const status = error.statusCode ?? (isAway ? 503 : 500);
    if (status >= 500) request.log[levelOf(error)]({ err: error }, 'request failed');
    const shown =
      error instanceof ApiError
        ? error
        : isAway
          ? new ApiError('SUBGRAPH_UNAVAILABLE', `The database of ${name} does not respond; try again.`, {
              requestId: request.id,
            })
          : status >= 500
            ? masked(request.id)
            : new ApiError('BAD_REQUEST', error.message);
    return reply
      .status(status)
      .type('application/json; charset=utf-8')
      .send(JSON.stringify({ errors: [shown] }));
  });
  app.setNotFoundHandler((request, reply) => {
    if (allowedMethods.of(request) !== undefined) return allowedMethods.refuse(request, reply);
    return answerNotFound(request, reply);
  });

  const closing = new Closing(logger);
  const startedAt = performance.now();
  app.get('/health/live', async () => ({ status: 'live', service: name, uptimeSeconds: secondsSince(startedAt) }));
  const health = new Health();
  // Ready: 200. Degraded: 200 too, it serves what it can, and `degraded` says what it does without. Not ready: 503.
  app.get('/health/ready', async (_request, reply) => {
    const { ready, ...details } = servers.draining
      ? { ready: false, reason: 'it is about to end' }
      : await options.readiness();
    const { notReady, degraded } = health.read();
    const isReady = ready && Object.keys(notReady).length === 0;
    const isDegraded = Object.keys(degraded).length > 0;
    return reply.status(isReady ? 200 : 503).send({
      status: isReady ? (isDegraded ? 'degraded' : 'ready') : 'not ready',
      service: name,
      ...details,
      ...(Object.keys(notReady).length > 0 && { notReady }),
      ...(isDegraded && { degraded }),
    });
  });
  if (!isOneOfSeveral()) exposeUnexpectedErrors(metrics);
  const clocks = new Clocks(logger, metrics);
  health.add({ name: 'clocks', required: false, check: () => clocks.problem });
  closing.add('clocks', () => clocks.stop());
  const readMetrics = metricsReader(metrics);
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await readMetrics()));

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
      // Nothing is asked any more: its sockets are closed.
      closing.add('HTTP server', () => app.close());
      await closing.run();
    },
  };
}

function answerNotFound(request: FastifyRequest, reply: FastifyReply) {
  return reply
    .status(404)
    .type('application/json; charset=utf-8')
    .send(
      JSON.stringify({
        errors: [new ApiError('NOT_FOUND', `Nothing is at ${request.url.split('?')[0]?.slice(0, MAX_SHOWN_PATH)}.`)],
      }),
    );
}

/** Answers a request whose path cannot be decoded: no hook and no other handler runs for it. */
function refusePath({ id }: FastifyRequest, reply: FastifyReply): void {
  reply
    .status(400)
    .headers({ 'content-type': 'application/json; charset=utf-8', 'x-request-id': id })
    .send(JSON.stringify({ errors: [new ApiError('BAD_REQUEST', 'Malformed request: the path cannot be decoded.')] }));
}

/** A client's request id is kept when it is harmless to log, else a new one is made. */
function requestId(given: string | string[] | undefined): string {
  return typeof given === 'string' && /^[\w.:-]{1,128}$/.test(given) ? given : randomUUID();
}

/** Reads a body as text. What is too large is read to its end all the same (within reason), or the client could not read why. */
function readText(payload: IncomingMessage, done: (error: Error | null, text?: string) => void): void {
  const chunks: Buffer[] = [];
  let size = 0;
  payload.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= BODY_LIMIT) chunks.push(chunk);
    else if (size > DRAIN_LIMIT) {
      payload.removeAllListeners('data');
      done(tooLarge());
    }
  });
  // The client broke off, or was too slow: no fault of ours.
  payload.on('error', (error) => done(Object.assign(error, { statusCode: 400 })));
  payload.on('end', () => {
    if (size > BODY_LIMIT) done(tooLarge());
    else done(null, (chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)).toString('utf8'));
  });
}

function tooLarge(): Error {
  const error = new ApiError('BAD_REQUEST', `The request body is larger than ${BODY_LIMIT} bytes.`, {
    reason: 'BODY_SIZE',
  });
  return Object.assign(error, { statusCode: 413 });
}

function secondsSince(start: number): number {
  return Math.round((performance.now() - start) / 100) / 10;
}
