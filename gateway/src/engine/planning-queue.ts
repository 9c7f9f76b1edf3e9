import { performance } from 'node:perf_hooks';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '@tributary/shared/errors';

/** The longest rest after a piece of work. */
const MAX_REST_MS = 250;

/**
 * Does work that blocks the process (planning operations that were not seen before) piece by piece: each piece once, whoever asks
 * for it; after each, as long a rest as it took, so that requests which need none of it go on meanwhile.
 */
export class PlanningQueue {
  readonly #limit: number;
  readonly #underWay = new Map<string, Promise<unknown>>();
  #last: Promise<unknown> = Promise.resolve();

  /** @param limit how many pieces may wait */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** @throws ApiError RATE_LIMITED when too much is waiting already */
  run<T>(key: string, work: () => T): Promise<T> {
    const known = this.#underWay.get(key);
    if (known) return known as Promise<T>;
    if (this.#underWay.size >= this.#limit) {
      throw new ApiError('RATE_LIMITED', 'Too many new operations wait to be planned; try again in a moment.');
    }
    let tookMs = 0;
    const result = this.#last.then(() => {
      const started = performance.now();
      try {
        return work();
      } finally {
        tookMs = performance.now() - started;
        this.#underWay.delete(key);
      }
    });
    this.#underWay.set(key, result);
    this.#last = result.then(
      () => rest(tookMs),
      () => rest(tookMs),
    );
    return result;
  }
}

function rest(tookMs: number): Promise<unknown> {
  return tookMs < 1 ? nextTurn() : sleep(Math.min(tookMs, MAX_REST_MS));
}
