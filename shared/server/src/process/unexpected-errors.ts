import cluster from 'node:cluster';
import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';

/** `exit`: one of several processes ended unexpectedly. */
type Kind = 'rejection' | 'exception' | 'exit';

/** Sent to the primary process, whose count outlives the sender. */
export interface UnexpectedErrorMessage {
  readonly tell: 'unexpected error';
  readonly kind: Kind;
}

const counts: Record<Kind, number> = { rejection: 0, exception: 0, exit: 0 };

export function countUnexpectedError(kind: Kind): void {
  counts[kind] += 1;
  if (cluster.isWorker) process.send?.({ tell: 'unexpected error', kind } satisfies UnexpectedErrorMessage);
}

/**
 * Handles errors that no code handled. A rejected promise is logged and counted, and the process continues. After an exception the
 * state of the process is unknown: it is logged and counted, and the process shuts down for its supervisor to start it again.
 *
 * @param shutDown ends the process in order; may be called several times
 */
export function handleUnexpectedErrors(logger: Logger, shutDown: () => void): void {
  process.on('unhandledRejection', (reason) => {
    countUnexpectedError('rejection');
    logger.error({ err: asError(reason) }, 'a promise was rejected and nothing handled it; the process continues');
  });
  process.on('uncaughtException', (error) => {
    countUnexpectedError('exception');
    logger.fatal({ err: asError(error) }, 'an exception was thrown and nothing handled it; the process shuts down');
    shutDown();
  });
}

/** Adds `unexpected_errors_total`, which counts for the whole process, and in the first of several for all of them. */
export function exposeUnexpectedErrors(metrics: Registry): void {
  new Counter({
    name: 'unexpected_errors_total',
    help: 'Rejected promises and exceptions that no code handled, and processes (of several) that ended unexpectedly',
    labelNames: ['kind'],
    registers: [metrics],
    collect() {
      this.reset();
      for (const [kind, count] of Object.entries(counts)) this.inc({ kind }, count);
    },
  });
}

/** What was thrown instead of an error may hold anything, so only its type is shown. */
function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(`Not an error but a value of type ${typeof reason} was thrown.`);
}
