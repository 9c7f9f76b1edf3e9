import { performance } from 'node:perf_hooks';
import { Fault } from '@tributary/server';
import { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';

/** A request waits so long for Redis; what Redis has not said by then is fetched. */
const PATIENCE_MS = 5;
/** After so many answers in a row that came late, or not at all, requests do not ask for a while. */
const FAILURES_TO_REST = 3;
const REST_MS = 1000;
/** Redis fails when a command takes longer. */
const COMMAND_TIMEOUT_MS = 1000;
/** While Redis fails, it is tried so often. */
const PROBE_MS = 1000;
const PROBE_KEY = 'probe';
/** A fault that is over within this time is counted, and not logged. */
const FAULT_PATIENCE_MS = 1500;

/**
 * The connection to the Redis behind the cache, which may be slow, full, read-only or not there: no request waits for it long. Each of its
 * faults is counted, logged once with its cause, and logged again when it is over: when Redis takes a write. An answer that comes too late
 * for its request is no fault, as this process may have been busy itself; it makes the connection try whether Redis answers at all.
 */
export class CacheRedis {
  readonly #redis: Redis;
  readonly #failures: Counter;
  readonly #lateAnswers: Counter;
  readonly #fault: Fault;
  /** Answers in a row that were of no use to their requests. */
  #useless = 0;
  #restUntil = 0;
  #probe: NodeJS.Timeout | undefined;
  #closed = false;

  /** @param prefix what the keys of this environment begin with; what scans find has it, too */
  constructor(
    url: string,
    readonly prefix: string,
    logger: Logger,
    metrics: Registry,
  ) {
    this.#failures = new Counter({
      name: 'gateway_cache_redis_failures_total',
      help: 'Commands that Redis refused or did not answer within a second, and connections that failed',
      registers: [metrics],
    });
    this.#lateAnswers = new Counter({
      name: 'gateway_cache_redis_late_total',
      help: 'Answers of Redis that requests did not wait for, as they took longer than 5 ms',
      registers: [metrics],
    });
    this.#fault = new Fault({
      logger,
      began: 'Redis fails; the gateway goes on with what it has in memory',
      ended: 'Redis works again',
      patienceMs: FAULT_PATIENCE_MS,
    });
    this.#redis = new Redis(url, {
      keyPrefix: prefix,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      connectTimeout: COMMAND_TIMEOUT_MS,
      commandTimeout: COMMAND_TIMEOUT_MS,
      retryStrategy: (attempt) => Math.min(attempt * 100, 1000),
    });
    this.#redis.on('error', (error) => this.failed(`it cannot be reached: ${error.message}`));
    this.#redis.on('close', () => this.failed('the connection ended'));
  }

  /** Why it is of no use now; null when it is. */
  get problem(): string | null {
    return this.#fault.cause;
  }

  /** For requests; null while they should not ask. */
  get forRequests(): Redis | null {
    return performance.now() >= this.#restUntil ? this.connected : null;
  }

  /** For work that no request waits for; null while there is no connection. Each command takes at most a second. */
  get connected(): Redis | null {
    return this.#redis.status === 'ready' ? this.#redis : null;
  }

  /** Null when it takes too long, or fails. */
  async timed<T>(command: Promise<T>): Promise<T | null> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), PATIENCE_MS);
    });
    const outcome = await Promise.race([command.then((value) => ({ value }), errorOf), late]);
    clearTimeout(timer);
    if (outcome !== 'late' && 'value' in outcome) {
      this.#useless = 0;
      return outcome.value;
    }
    if (outcome === 'late') {
      this.#lateAnswers.inc();
      this.#tryIn(0);
    } else this.failed(outcome.message);
    this.#useless += 1;
    if (this.#useless >= FAILURES_TO_REST) {
      this.#restUntil = performance.now() + REST_MS;
      this.#useless = 0;
    }
    return null;
  }

  /** The results of several commands; null when they take too long. Those that Redis refused are undefined. */
  async timedAll(commands: Promise<[error: Error | null, result: unknown][] | null>): Promise<unknown[] | null> {
    const results = await this.timed(commands);
    return (
      results?.map(([error, result]) => {
        if (!error) return result;
        this.failed(error.message);
        return undefined;
      }) ?? null
    );
  }

  /** Redis refused something, or there is no connection. */
  failed(cause: string): void {
    if (this.#closed) return;
    this.#failures.inc();
    this.#fault.failed(cause);
    this.#tryIn(PROBE_MS);
  }

  #tryIn(ms: number): void {
    if (!this.#closed) this.#probe ??= setTimeout(() => void this.#try(), ms).unref();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#probe);
    this.#fault.stop();
    this.#redis.disconnect();
  }

  /** Reads may work while writes do not, so a write says whether there is a fault. */
  async #try(): Promise<void> {
    const outcome = await this.connected?.set(PROBE_KEY, '', 'PX', PROBE_MS).catch(errorOf);
    this.#probe = undefined;
    if (outcome === 'OK') this.#fault.worked();
    else if (outcome) this.failed(outcome.message);
    // The connection itself says why there is none.
    else this.#tryIn(PROBE_MS);
  }
}

function errorOf(error: unknown): { readonly message: string } {
  const { message } = error as Error;
  // As ioredis says it.
  return { message: message === 'Command timed out' ? `it did not answer within ${COMMAND_TIMEOUT_MS} ms` : message };
}
