import type { Logger } from 'pino';

/** How long after a first failure a line is logged, in milliseconds. */
const FIRST_LINE_MS = 5000;
/** While failures go on, each line is logged after twice the time of the one before, at most after this. */
const LONGEST_MS = 10 * 60_000;

/** A request whose response lacks data. Nothing in it is data of users. */
export interface FailedRequest {
  /** The code of its error. */
  readonly code: string;
  readonly operation?: string | undefined;
  readonly reqId: string;
  /** Why it failed, where the gateway itself found out; else only the code says it. */
  readonly cause?: string | undefined;
}

/**
 * Logs failed requests as samples: one line for many, with their number and the newest of them. No line where `take` is called
 * first: then another line reports them. Each request is a line of level debug, by which its id can be found.
 */
export class FailedRequests {
  readonly #logger: Logger;
  readonly #message: string;
  readonly #details: Readonly<Record<string, unknown>>;
  /** Since the newest line. */
  #count = 0;
  /** Since there was a while without any. */
  #total = 0;
  #newest: FailedRequest | null = null;
  #waitMs = FIRST_LINE_MS;
  #timer: NodeJS.Timeout | undefined;

  constructor(logger: Logger, message: string, details: Readonly<Record<string, unknown>> = {}) {
    this.#logger = logger;
    this.#message = message;
    this.#details = details;
  }

  add(request: FailedRequest): void {
    this.#count += 1;
    this.#total += 1;
    this.#newest = request;
    this.#logger.debug({ ...this.#details, ...request }, 'a request failed');
    this.#timer ??= setTimeout(() => this.#next(), this.#waitMs).unref();
  }

  /** Starts anew. @returns how many requests failed since there was a while without any */
  take(): number {
    const total = this.#total;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waitMs = FIRST_LINE_MS;
    this.#count = 0;
    this.#total = 0;
    return total;
  }

  /** Logs what is not logged yet. */
  close(): void {
    this.#log();
    this.take();
  }

  #next(): void {
    this.#timer = undefined;
    if (this.#count === 0) {
      this.take();
      return;
    }
    this.#log();
    this.#waitMs = Math.min(this.#waitMs * 2, LONGEST_MS);
    this.#timer = setTimeout(() => this.#next(), this.#waitMs).unref();
  }

  #log(): void {
    if (this.#count === 0) return;
    this.#logger.warn({ ...this.#details, failedRequests: this.#count, ...this.#newest }, this.#message);
    this.#count = 0;
  }
}
