import { Fault, type Time, type Timer } from '@tributary/server';
import type { Logger } from 'pino';
import { CircuitBreaker, type Permit } from './circuit-breaker.js';

/** Pause between probes while a subgraph fails and its circuit is closed. Two of them precede a report. */
const PROBE_MS = 500;

/** The requests that failed since the subgraph last worked: those of one query, of several, or all. */
type FailureScope = 'none' | 'one query' | 'queries' | 'everything';

export interface OutageDetectorOptions {
  readonly subgraph: string;
  /** Consecutive failures that open the circuit; 0: none. */
  readonly failures: number;
  /** How long the circuit is open at first. */
  readonly resetMs: number;
  /** Failures of clients' requests alone are over when there was none for this time. */
  readonly quietMs: number;
  /** Sends a request that every GraphQL service can respond to; rejects when it fails. */
  readonly probe: () => Promise<unknown>;
  /** The number of failed requests, for the log line at the end of an outage. */
  readonly takeFailedRequests: () => number;
  readonly onCircuit: (isOpen: boolean) => void;
  readonly logger: Logger;
  readonly time: Time;
}

/**
 * Decides from the outcomes of requests whether a subgraph works, opens its circuit, probes it while it fails, and logs the beginning and the
 * end of an outage. Failures of a single query are no outage: the query may be the cause.
 */
export class OutageDetector {
  readonly #options: OutageDetectorOptions;
  readonly #breaker: CircuitBreaker;
  readonly #failing: Fault;
  readonly #circuit: Fault;
  #lastFailure = '';
  #reportedOpen = false;
  #probe: Timer | undefined;
  #scope: FailureScope = 'none';
  #failedQuery = '';
  #quiet: Timer | undefined;
  #closed = false;

  constructor(options: OutageDetectorOptions) {
    const { subgraph, failures, resetMs, logger, time } = options;
    this.#options = options;
    this.#breaker = new CircuitBreaker(failures, resetMs, () => time.monotonic());
    options.onCircuit(false);
    const details = { subgraph };
    this.#failing = new Fault({
      logger,
      began: 'a subgraph fails: fields that only it has are null, with an error',
      ended: 'the subgraph answers again',
      details,
      summary: () => ({ failedRequests: options.takeFailedRequests() }),
    });
    this.#circuit = new Fault({
      logger,
      began: 'the circuit of a subgraph opened: requests for it fail at once, and the gateway probes it at intervals',
      ended: 'the circuit of the subgraph closed',
      details,
      level: 'info',
    });
  }

  /** Why the subgraph does not work; null while it does. */
  get problem(): string | null {
    return this.#circuit.cause ?? this.#failing.cause;
  }

  /** A permit for a client's request; null while the circuit is open. */
  admit(): Permit | null {
    return this.#breaker.allows();
  }

  /** A permit for a request of the gateway's own, also while the circuit is open. */
  admitProbe(): Permit {
    return this.#breaker.probe();
  }

  /** @param isProbe the gateway's own request succeeded, not a client's */
  succeeded(permit: Permit, isProbe: boolean): void {
    // A probe needs no database, so it does not disprove failures of clients' requests alone. It does close the circuit.
    const saysLittle = isProbe && (this.#scope === 'one query' || this.#scope === 'queries');
    if ((!saysLittle || this.#breaker.isOpen) && !this.#breaker.succeeded(permit)) return;
    this.#reportCircuit();
    this.#stopProbing();
    if (saysLittle) return;
    this.#quiet?.clear();
    this.#scope = 'none';
    this.#failing.worked();
    this.#circuit.worked();
  }

  /** @param query the operation, if the subgraph was reached and a client sent it; else null */
  failed(permit: Permit, cause: string, query: string | null): void {
    if (this.#closed) return;
    const wasOpen = this.#breaker.isOpen;
    if (this.#counts(query)) {
      this.#lastFailure = cause;
      if (this.#breaker.failed(permit)) this.#failing.failed(cause);
      this.#reportCircuit();
    }
    if (!this.#probe || this.#breaker.isOpen !== wasOpen) this.#probeLater();
  }

  close(): void {
    this.#closed = true;
    this.#stopProbing();
    this.#quiet?.clear();
    this.#failing.stop();
    this.#circuit.stop();
  }

  /** Whether a failure counts: one query that fails, however often, may itself be the cause. */
  #counts(query: string | null): boolean {
    this.#quiet?.clear();
    if (query === null || this.#scope === 'everything') {
      this.#scope = 'everything';
      return true;
    }
    const { time, quietMs } = this.#options;
    this.#quiet = time.setTimeout(() => this.succeeded(this.#breaker.probe(), false), quietMs, { unref: true });
    if (this.#scope === 'one query' && query === this.#failedQuery) return false;
    this.#scope = this.#scope === 'none' ? 'one query' : 'queries';
    this.#failedQuery = query;
    return true;
  }

  /** Probes a subgraph that failed, so that no client's request has to. */
  #probeLater(): void {
    this.#stopProbing();
    const { time, probe } = this.#options;
    const timer = time.setTimeout(
      () => {
        probe().catch(() => {
          // The failure was counted. A success ends the probes.
          if (this.#probe === timer) this.#probeLater();
        });
      },
      this.#breaker.isOpen ? this.#breaker.breakMs : PROBE_MS,
      { unref: true },
    );
    this.#probe = timer;
  }

  #stopProbing(): void {
    this.#probe?.clear();
    this.#probe = undefined;
  }

  #reportCircuit(): void {
    const { isOpen } = this.#breaker;
    if (isOpen === this.#reportedOpen) return;
    this.#reportedOpen = isOpen;
    this.#options.onCircuit(isOpen);
    // The circuit may open and close several times during one outage, which is logged once.
    if (isOpen && !this.#closed) this.#circuit.failed(this.#lastFailure);
  }
}
