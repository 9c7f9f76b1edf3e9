import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';

/** How long one part may take to close. */
const STEP_MS = 1200;
/** How long all parts may take; those that are left then are closed with LATE_STEP_MS each. */
const TOTAL_MS = 2500;
const LATE_STEP_MS = 100;

/** The most that `Closing.run` takes, with ten parts that hang. */
export const CLOSING_MS = TOTAL_MS + 10 * LATE_STEP_MS;

type Close = () => unknown;

/** The parts of a program that are closed at its end, the last added first. One that hangs is logged and left behind. */
export class Closing {
  readonly #steps: { readonly name: string; readonly close: Close }[] = [];
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** @param name what is closed, for the log: `consumers` */
  add(name: string, close: Close): void {
    this.#steps.push({ name, close });
  }

  /** Never rejects: what cannot be closed keeps nothing else from being closed. */
  async run(): Promise<void> {
    const until = performance.now() + TOTAL_MS;
    for (const { name, close } of this.#steps.splice(0).reverse()) {
      const limitMs = Math.max(LATE_STEP_MS, Math.min(STEP_MS, until - performance.now()));
      await this.#close(name, close, limitMs);
    }
  }

  async #close(name: string, close: Close, limitMs: number): Promise<void> {
    const closing = (async () => close())().then(
      () => undefined,
      (error: unknown) => this.#logger.error({ part: name, err: error }, 'a part could not be closed'),
    );
    const inTime = new AbortController();
    const tooLong = sleep(limitMs, 'too long' as const, { signal: inTime.signal }).catch(() => undefined);
    if ((await Promise.race([closing, tooLong])) === 'too long')
      this.#logger.warn({ part: name, waitedMs: Math.round(limitMs) }, 'a part does not close; it is left behind');
    inTime.abort();
  }
}
