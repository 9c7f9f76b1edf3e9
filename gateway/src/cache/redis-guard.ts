import { Fault, type Time, type Timer } from '@tributary/server';
import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';
import type { RedisClient, RedisWrite, RedisWriteResult } from './redis-client.js';

/** How long a request waits for Redis; it fetches what has not arrived by then. */
const PATIENCE_MS = 5;
/** Consecutive responses that came late or not at all, after which requests skip Redis for REST_MS. */
const FAILURES_TO_REST = 3;
const REST_MS = 1000;
/** Pause between probes while Redis fails. */
const PROBE_MS = 1000;
const PROBE_KEY = 'probe';
/** A fault that is over within this time is counted, and not logged. */
const FAULT_PATIENCE_MS = 1500;

export interface RedisGuardOptions {
  readonly client: RedisClient;
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly time: Time;
}

/**
 * Keeps a Redis that is slow, full, read-only or down from delaying requests. Each fault is counted, logged once with its cause, and logged
 * again when Redis accepts a write. A response that is too late for its request is no fault, as this process may have been busy; it triggers a
 * probe.
 */
export class RedisGuard {
  readonly #client: RedisClient;
  readonly #time: Time;
  readonly #failures: Counter;
  readonly #lateResponses: Counter;
  readonly #fault: Fault;
  /** Consecutive responses that came too late, or failed. */
  #useless = 0;
  #restUntil = 0;
  #probe: Timer | undefined;
  #closed = false;

  constructor({ client, logger, metrics, time }: RedisGuardOptions) {
    this.#client = client;
    this.#time = time;
    this.#failures = new Counter({
      name: 'gateway_cache_redis_failures_total',
      help: 'Commands that Redis refused or did not respond to within a second, and connections that failed',
      registers: [metrics],
    });
    this.#lateResponses = new Counter({
      name: 'gateway_cache_redis_late_total',
      help: 'Responses of Redis that took longer than 5 ms, so that requests went on without them',
      registers: [metrics],
    });
    this.#fault = new Fault({
      logger,
      began: 'Redis fails; the gateway goes on with what it has in memory',
      ended: 'Redis works again',
      patienceMs: FAULT_PATIENCE_MS,
      time,
    });
    client.onFailure((cause) => this.failed(cause));
  }

  /** Why Redis cannot be used now; null when it can. */
  get problem(): string | null {
    return this.#fault.cause;
  }

  /** The client for a request; null while requests should skip Redis. */
  get forRequests(): RedisClient | null {
    return this.#time.monotonic() >= this.#restUntil ? this.connected : null;
  }

  /** The client for work in the background; null while there is no connection. */
  get connected(): RedisClient | null {
    return this.#client.isConnected ? this.#client : null;
  }

  /** Waits for a command as long as a request may. @returns null when it takes longer, or fails */
  async timed<T>(command: Promise<T>): Promise<T | null> {
    let timer: Timer | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = this.#time.setTimeout(() => resolve('late'), PATIENCE_MS);
    });
    const outcome = await Promise.race([command.then((value) => ({ value }), toFailure), late]);
    timer?.clear();
    if (outcome !== 'late' && 'value' in outcome) {
      this.#useless = 0;
      return outcome.value;
    }
    if (outcome === 'late') {
      this.#lateResponses.inc();
      this.#probeIn(0);
    } else this.failed(outcome.message);
    this.#useless += 1;
    if (this.#useless >= FAILURES_TO_REST) {
      this.#restUntil = this.#time.monotonic() + REST_MS;
      this.#useless = 0;
    }
    return null;
  }

  /** Sends writes, and waits as long as a request may. @returns outcomes in order, undefined for refused writes; null when it takes longer */
  async timedWrites(client: RedisClient, writes: readonly RedisWrite[]): Promise<(boolean | undefined)[] | null> {
    const results = await this.timed(client.write(writes));
    return (
      results?.map((result: RedisWriteResult) => {
        if (!(result instanceof Error)) return result;
        this.failed(result.message);
        return undefined;
      }) ?? null
    );
  }

  /** Reports that Redis refused something, or that there is no connection. */
  failed(cause: string): void {
    if (this.#closed) return;
    this.#failures.inc();
    this.#fault.failed(cause);
    this.#probeIn(PROBE_MS);
  }

  close(): void {
    this.#closed = true;
    this.#probe?.clear();
    this.#fault.stop();
    this.#client.close();
  }

  #probeIn(ms: number): void {
    if (!this.#closed) this.#probe ??= this.#time.setTimeout(() => void this.#tryWrite(), ms, { unref: true });
  }

  /** Ends the fault when a write succeeds: reads may work while writes do not. */
  async #tryWrite(): Promise<void> {
    const write: RedisWrite = { kind: 'set', key: PROBE_KEY, value: '', ttlMs: PROBE_MS };
    const outcome = await this.connected?.write([write]).then(
      ([result]) => result,
      (error: Error) => error,
    );
    this.#probe = undefined;
    if (outcome === true) this.#fault.worked();
    else if (outcome instanceof Error) this.failed(outcome.message);
    // The connection itself reports why there is none.
    else this.#probeIn(PROBE_MS);
  }
}

function toFailure(error: unknown): { readonly message: string } {
  return { message: (error as Error).message };
}
