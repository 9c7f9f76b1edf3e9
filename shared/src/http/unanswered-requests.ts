import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ApiError } from '../errors.js';

/** The longest that a GraphQL request may take. */
const REQUEST_MS = 60_000;
const SWEEP_MS = 1000;
const LOOK_MS = 10;
/** How long a request that is no GraphQL may take when the process ends. */
const OTHERS_MS = 500;

const isGraphQL = ({ url }: FastifyRequest) => url.startsWith('/graphql');

interface Unanswered {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly since: number;
}

/**
 * The requests that wait for their response. Each gets one: where a handler never answers (an exception ended what it
 * waits for, say), the client gets an error after a minute, or when the process ends.
 */
export class UnansweredRequests {
  /** The oldest first. */
  readonly #waiting = new Set<Unanswered>();

  /** Tracks the requests of a server. */
  track(app: FastifyInstance): void {
    app.addHook('onRequest', (request, reply, done) => {
      const unanswered = { request, reply, since: performance.now() };
      this.#waiting.add(unanswered);
      reply.raw.once('close', () => this.#waiting.delete(unanswered));
      done();
    });
    const sweep = setInterval(() => this.#answerOverdue(), SWEEP_MS).unref();
    app.addHook('onClose', async () => clearInterval(sweep));
  }

  /**
   * Waits until every request is answered. GraphQL requests that are left at the end are answered with an error, and those of other
   * services and of monitoring, which ask again anyway, sooner.
   *
   * @returns how many were answered with an error
   */
  async finish(withinMs: number): Promise<number> {
    const startedAt = performance.now();
    const isAwaited = ({ request }: Unanswered, passedMs: number) =>
      passedMs < (isGraphQL(request) ? withinMs : Math.min(withinMs, OTHERS_MS));
    while ([...this.#waiting].some((each) => isAwaited(each, performance.now() - startedAt))) await sleep(LOOK_MS);
    const left = [...this.#waiting];
    for (const each of left)
      answer(
        each,
        503,
        new ApiError('SUBGRAPH_UNAVAILABLE', 'The server shut down before it could answer; try again.'),
      );
    return left.length;
  }

  #answerOverdue(): void {
    const oldest = performance.now() - REQUEST_MS;
    for (const each of this.#waiting) {
      if (each.since > oldest) return;
      // Comparisons and audits between services take minutes, and have time-outs of their own.
      if (!isGraphQL(each.request)) continue;
      this.#waiting.delete(each);
      each.request.log.error(
        { seconds: REQUEST_MS / 1000 },
        'a request was not answered in time; the client gets an error',
      );
      answer(each, 500, new ApiError('INTERNAL_SERVER_ERROR', 'Something went wrong on our side; it has been logged.'));
    }
  }
}

/** Answers past the handler and its hooks, which may be what hangs. What they answer later has no effect. */
function answer({ request, reply }: Unanswered, status: number, error: ApiError): void {
  const { raw } = reply;
  reply.hijack();
  if (raw.headersSent) {
    raw.destroy();
    return;
  }
  const headers = {
    'content-type': 'application/json; charset=utf-8',
    'x-request-id': request.id,
    connection: 'close',
  };
  raw.writeHead(status, headers).end(JSON.stringify({ errors: [error] }));
  Object.assign(raw, { writeHead: () => raw, write: () => true, end: () => raw });
}
