import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';

type Kind = 'rejection' | 'exception';

const counts: Record<Kind, number> = { rejection: 0, exception: 0 };

/**
 * Handles errors that no code handled. A rejected promise is logged and counted, and the process continues. After an exception the
 * state of the process is unknown: it is logged and counted, and the process shuts down for its supervisor to start it again.
 *
 * @param shutDown ends the process in order; may be called several times
 */
export function handleUnexpectedErrors(logger: Logger, shutDown: () => void): void {
  process.on('unhandledRejection', (reason) => {
    counts.rejection += 1;
    logger.error({ err: asError(reason) }, 'a promise was rejected and nothing handled it; the process continues');
  });
  process.on('uncaughtException', (error) => {
    counts.exception += 1;
    logger.fatal({ err: asError(error) }, 'an exception was thrown and nothing handled it; the process shuts down');
    shutDown();
  });
}

/** Adds `unexpected_errors_total`, which counts for the whole process. */
export function countUnexpectedErrors(metrics: Registry): void {
  new Counter({
    name: 'unexpected_errors_total',
    help: 'Rejected promises and exceptions that no code handled, in this process',
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
