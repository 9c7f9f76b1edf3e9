import type { Logger } from 'pino';
import { CLOSE_MS, type HttpService } from '../http/http-service.js';
import { isOneOfSeveral } from '../process/processes.js';
import { handleUnexpectedErrors } from '../process/unexpected-errors.js';

/** How long after SIGTERM a client may send one more request on a keep-alive connection. */
const PATIENCE_MS = 1000;
/** One Ctrl-C may arrive twice: from the terminal, and from npm. A second signal is one that comes later than this. */
const SAME_SIGNAL_MS = 500;
/** The longest that a process takes to end after SIGTERM, besides SHUTDOWN_DELAY. */
export const END_MS = PATIENCE_MS + CLOSE_MS + 500;

/** Ends the process in order at SIGTERM or SIGINT, and after an exception that nothing handled. A second signal ends it at once. */
export class Shutdown {
  readonly #delayMs: number;
  readonly #logger: Logger;
  #service: Pick<HttpService, 'close'> | null = null;
  #beganAt: number | null = null;

  /** @param delayMs how long after the signal connections are still accepted */
  constructor(delayMs: number, logger: Logger) {
    this.#delayMs = delayMs;
    this.#logger = logger;
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => this.#onSignal(signal));
    handleUnexpectedErrors(logger, () => this.#begin(1));
  }

  get begun(): boolean {
    return this.#beganAt !== null;
  }

  /** Sets the service to close; until then a signal ends the process at once. */
  closes(service: Pick<HttpService, 'close'>): void {
    this.#service = service;
  }

  #onSignal(signal: NodeJS.Signals): void {
    if (this.#beganAt === null) {
      this.#logger.info({ signal }, 'stopping');
      this.#begin(0);
    } else if (!isOneOfSeveral() && performance.now() - this.#beganAt > SAME_SIGNAL_MS) {
      // One of several may receive more than one signal; the primary process kills it if need be.
      this.#logger.warn({ signal }, 'a second stop signal; the process ends at once');
      process.exit(1);
    }
  }

  #begin(exitCode: number): void {
    if (this.begun) return;
    this.#beganAt = performance.now();
    if (!this.#service) process.exit(exitCode);
    setTimeout(() => {
      this.#logger.error(
        { afterMs: this.#delayMs + END_MS },
        'it could not be closed in time; the process ends anyway',
      );
      process.exit(1);
    }, this.#delayMs + END_MS);
    this.#service.close({ delayMs: this.#delayMs, patienceMs: PATIENCE_MS }).then(
      () => process.exit(exitCode),
      (error: unknown) => {
        this.#logger.error({ err: error }, 'could not stop cleanly');
        process.exit(1);
      },
    );
  }
}
