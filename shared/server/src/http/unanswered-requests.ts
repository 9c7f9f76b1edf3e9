import type { OutgoingHttpHeaders } from 'node:http';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ApiError, masked } from '../errors/errors.js';

/** The longest that a GraphQL request may take, from the end of its body to the beginning of its response. */
const REQUEST_MS = 60_000;
const SWEEP_MS = 1000;
const LOOK_MS = 10;
/** How long a request that is no GraphQL may take when the process ends. */
const OTHERS_MS = 500;

const isGraphQL = ({ url }: FastifyRequest) => url.startsWith('/graphql');

interface Unanswered {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  /** Since when it waits. */
  since: number;
  /** Its index in the list of those that wait; -1 when it waits no more. */
  index: number;
}

/** Whether the response is complete, and on its way to a client that takes its time to read it. */
const isAnswered = ({ reply }: Unanswered) => reply.raw.writableEnded;

/**
 * The requests whose client does not have its response yet. Each gets one: where a handler never responds (for example, an exception ended what it
 * waits for), the client gets an error after a minute, or when the process ends.
 */
export class UnansweredRequests {
  /**
   * Not a `Set`: one whose entries come and go at a high rate keeps outgrown tables, and with them the requests of seconds, alive until
   * the next full garbage collection.
   */
  readonly #waiting: Unanswered[] = [];

  /** Tracks the requests of a server. */
  track(app: FastifyInstance): void {
    app.addHook('onRequest', (request, reply, done) => {
      const unanswered: Unanswered = { request, reply, since: performance.now(), index: this.#waiting.length };
      this.#waiting.push(unanswered);
      reply.raw.once('close', () => this.#remove(unanswered));
      done();
    });
    const sweep = setInterval(() => this.#answerOverdue(), SWEEP_MS).unref();
    app.addHook('onClose', async () => clearInterval(sweep));
  }

  /**
   * Waits until every response is with its client. GraphQL requests that are left without one at the end are answered with an error,
   * and those of other services and of monitoring, which retry anyway, sooner. Responses that are still on their way are cut.
   *
   * @returns how many were answered with an error
   */
  async finish(withinMs: number): Promise<number> {
    const startedAt = performance.now();
    const isAwaited = ({ request }: Unanswered, passedMs: number) =>
      passedMs < (isGraphQL(request) ? withinMs : Math.min(withinMs, OTHERS_MS));
    while (this.#waiting.some((each) => isAwaited(each, performance.now() - startedAt))) await sleep(LOOK_MS);
    const left = [...this.#waiting];
    const unanswered = left.filter((each) => !isAnswered(each)).length;
    for (const each of left)
      answer(
        each,
        503,
        new ApiError('SUBGRAPH_UNAVAILABLE', 'The server shut down before it could answer; try again.'),
      );
    return unanswered;
  }

  #answerOverdue(): void {
    const now = performance.now();
    for (const each of [...this.#waiting]) {
      // Node's own time limit is for the body, which the client is still sending.
      if (!each.request.raw.complete) each.since = now;
      // Comparisons and audits between services take minutes, and have time-outs of their own.
      if (now - each.since < REQUEST_MS || isAnswered(each) || !isGraphQL(each.request)) continue;
      this.#remove(each);
      each.request.log.error(
        { seconds: REQUEST_MS / 1000 },
        'a request was not answered in time; the client gets an error',
      );
      answer(each, 500, masked(each.request.id));
    }
  }

  /** Removes a request, if it is still there; the last one takes its place. */
  #remove(unanswered: Unanswered): void {
    const { index } = unanswered;
    if (index < 0) return;
    const last = this.#waiting.pop() as Unanswered;
    last.index = index;
    if (last !== unanswered) this.#waiting[index] = last;
    unanswered.index = -1;
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
  const body = JSON.stringify({ errors: [error] });
  // Those of hooks that came before the handler stay: without those of CORS, a browser does not show the response to its page.
  const headers = {
    ...reply.getHeaders(),
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'x-request-id': request.id,
    connection: 'close',
  };
  raw.writeHead(status, headers as OutgoingHttpHeaders).end(body);
  Object.assign(raw, { writeHead: () => raw, write: () => true, end: () => raw });
}
