import type { Logger } from 'pino';
import { DatabaseAwayError } from '../errors/failure.js';
import { causeOf } from './log-privacy.js';
import { systemTime, type Timers } from './time.js';

export interface Repeated {
  /** What is done, in words for a log. */
  readonly name: string;
  readonly intervalMs: number;
  /** @returns whether there may be more to do at once */
  readonly run: () => Promise<boolean>;
  readonly logger: Logger;
  /** The system's timers by default. */
  readonly timers?: Timers;
}

/** Runs a task repeatedly, with a pause when there is nothing left to do. @returns how to stop */
export function repeat({ name, intervalMs, run, logger, timers = systemTime }: Repeated): () => Promise<void> {
  const stopped = new AbortController();
  const { signal } = stopped;
  let problem: string | null = null;
  const running = (async () => {
    while (!signal.aborted) {
      let more = false;
      try {
        more = await run();
        if (problem !== null) logger.info({ task: name }, 'it works again');
        problem = null;
      } catch (error) {
        // `DatabaseWatch` reports it.
        if (error instanceof DatabaseAwayError) logger.debug({ task: name, err: error }, 'a regular task failed');
        else {
          const now = causeOf(error);
          if (now !== problem) logger.warn({ task: name, problem: now }, 'a regular task failed; it is tried again');
          problem = now;
        }
      }
      if (!more) await timers.sleep(intervalMs, signal).catch(() => undefined);
    }
  })();
  return async () => {
    stopped.abort();
    await running;
  };
}
