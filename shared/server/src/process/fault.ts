import type { Logger } from 'pino';
import { causeOf } from './log-privacy.js';
import { systemTime, type Time, type Timer } from './time.js';

export interface FaultOptions {
  readonly logger: Logger;
  /** Logged when the fault begins, with its cause. */
  readonly began: string;
  /** Logged when it is over. */
  readonly ended: string;
  /** What else is logged with both messages. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** What else is logged when it is over. */
  readonly summary?: () => Readonly<Record<string, unknown>>;
  /** A fault that ends within this time, in milliseconds, is not reported. Default 0. */
  readonly patienceMs?: number;
  readonly level?: 'info' | 'warn' | 'error';
  readonly time?: Time;
}

/**
 * A recurring fault. It is logged once when it begins and once when it ends, however often it is reported in between. `cause` is
 * for `/health/ready`.
 */
export class Fault {
  readonly #options: FaultOptions;
  readonly #time: Time;
  #cause: string | null = null;
  #beganAt = 0;
  #logged = false;
  #timer: Timer | undefined;

  constructor(options: FaultOptions) {
    this.#options = options;
    this.#time = options.time ?? systemTime;
  }

  /** The cause of the present fault; null while there is none, and until `patienceMs` have passed. */
  get cause(): string | null {
    return this.#logged ? this.#cause : null;
  }

  /** Reports a failure. @param cause an error or a description */
  failed(cause: unknown): void {
    if (this.#cause === null) {
      this.#beganAt = this.#time.monotonic();
      const { patienceMs = 0 } = this.#options;
      if (patienceMs > 0) this.#timer = this.#time.setTimeout(() => this.#logBeginning(), patienceMs, { unref: true });
    }
    this.#cause = causeOf(cause);
    if (!this.#timer) this.#logBeginning();
  }

  /** Reports a success: the fault is over. */
  worked(): void {
    if (this.#cause === null) return;
    this.#clear();
    if (!this.#logged) return;
    this.#logged = false;
    const { logger, ended, details, summary } = this.#options;
    const seconds = Math.round((this.#time.monotonic() - this.#beganAt) / 100) / 10;
    logger.info({ ...details, ...summary?.(), seconds }, ended);
  }

  /** Stops reporting, at shutdown. */
  stop(): void {
    this.#clear();
    this.#logged = false;
  }

  #clear(): void {
    this.#timer?.clear();
    this.#timer = undefined;
    this.#cause = null;
  }

  #logBeginning(): void {
    this.#timer = undefined;
    if (this.#logged) return;
    this.#logged = true;
    const { logger, began, details, level = 'warn' } = this.#options;
    logger[level]({ ...details, cause: this.#cause }, began);
  }
}
