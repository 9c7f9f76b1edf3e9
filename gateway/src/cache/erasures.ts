import type { Time, Timer } from '@tributary/server';
import type { CacheEntry } from './cache-entry.js';
import type { InvalidationLog, InvalidationObserver } from './invalidation-log.js';
import type { TieredStore } from './tiered-store.js';

/** Pending erasures; beyond, everything that was read before them is deleted. */
const MAX_PENDING = 10_000;
/** Erasures that arrive within this time are carried out in one pass. */
const GATHER_MS = 50;
const TICK_MS = 1000;
/** Redis forgets the position of a source that is not written again. */
const REPEAT_MS = 60_000;
/** Attempts to find out whether other gateways carried out the erasures from before this one subscribed. */
const LOOKS = 3;

/**
 * Deletes cached data of users whose personal data was erased, in memory and in Redis. Erasures that this gateway may have missed, because it
 * was not running or was disconnected, are made up for by deleting everything that was read before, unless Redis shows that another gateway
 * carried them out. Failures of Redis are retried every second.
 */
export class Erasures implements InvalidationObserver {
  readonly #store: TieredStore;
  readonly #log: InvalidationLog;
  readonly #time: Time;
  #tick: Timer | undefined;
  /** `Type:id` and `*Type`. */
  #erased = new Set<string>();
  /** By source: data that was read before this position is deleted. */
  #missed = new Map<string, number>();
  /** By source: the first position of this process, and its attempts to find out who carried out the erasures before. */
  readonly #beginnings = new Map<string, { readonly position: number; looks: number }>();
  /** By source: the position up to which this process wrote to Redis that erasures are carried out, and when. */
  readonly #covered = new Map<string, { readonly position: number; readonly at: number }>();
  #gathering: Timer | undefined;
  #working = false;
  /** A pause after each pass, as long as the pass: requests have at least half of the process. */
  #restUntil = 0;
  #closed = false;

  constructor(store: TieredStore, log: InvalidationLog, time: Time) {
    this.#store = store;
    this.#log = log;
    this.#time = time;
    if (store.redis) this.#tickLater();
  }

  onErased(entities: readonly string[]): void {
    for (const entity of entities) {
      this.#erased.add(entity);
      this.#erased.add(`*${entity.slice(0, entity.indexOf(':'))}`);
    }
    if (this.#erased.size > MAX_PENDING) {
      this.#erased.clear();
      for (const [source, position] of this.#log.positions()) this.#missed.set(source, position);
    }
    this.#soon();
  }

  onFirstMessage(source: string, position: number): void {
    if (!this.#store.redis) return;
    this.#beginnings.set(source, { position, looks: 0 });
  }

  onGap(source: string, position: number): void {
    this.#missed.set(source, position);
    this.#soon();
  }

  close(): void {
    this.#closed = true;
    this.#tick?.clear();
    this.#gathering?.clear();
  }

  #tickLater(): void {
    const tick = () => {
      this.#tickLater();
      this.#work(true);
    };
    this.#tick = this.#time.setTimeout(tick, TICK_MS, { unref: true });
  }

  #soon(): void {
    if (this.#closed) return;
    const wait = () => {
      this.#gathering = undefined;
      this.#work(false);
    };
    const ms = Math.max(GATHER_MS, this.#restUntil - this.#time.monotonic());
    this.#gathering ??= this.#time.setTimeout(wait, ms, { unref: true });
  }

  /** Makes one pass at a time. A pass that fails is retried with the next tick. */
  #work(isTick: boolean): void {
    const startedAt = this.#time.monotonic();
    if (this.#working || this.#closed) return;
    if (startedAt < this.#restUntil) {
      if (this.#hasWork) this.#soon();
      return;
    }
    this.#working = true;
    void this.#pass(isTick)
      .then(
        () => true,
        (error: Error) => {
          this.#store.redis?.failed(error.message);
          return false;
        },
      )
      .then((succeeded) => {
        const now = this.#time.monotonic();
        this.#restUntil = now + (now - startedAt);
        this.#working = false;
        if (succeeded && this.#hasWork) this.#soon();
      });
  }

  get #hasWork(): boolean {
    return this.#erased.size + this.#missed.size > 0;
  }

  /** @throws when Redis fails */
  async #pass(isTick: boolean): Promise<void> {
    if (this.#hasWork) await this.#delete();
    const { redis } = this.#store;
    if (!isTick || !redis?.isConnected) return;
    for (const [source, beginning] of this.#beginnings) {
      const isCovered = (await redis.erasedUpTo(source)) >= beginning.position;
      beginning.looks += 1;
      if (!isCovered && beginning.looks < LOOKS) continue;
      this.#beginnings.delete(source);
      if (!isCovered) this.#missed.set(source, beginning.position);
    }
    for (const [source, position] of this.#log.positions()) {
      // Erasures up to this position are carried out, or still pending.
      if (this.#hasWork) return;
      const covered = this.#covered.get(source);
      const now = this.#time.monotonic();
      if (this.#beginnings.has(source) || (covered?.position === position && now - covered.at < REPEAT_MS)) continue;
      await redis.noteErasedUpTo(source, position);
      this.#covered.set(source, { position, at: now });
    }
  }

  async #delete(): Promise<void> {
    const erased = this.#erased;
    const missed = this.#missed;
    this.#erased = new Set();
    this.#missed = new Map();
    const isDoomed = ({ entities, owned, positions }: CacheEntry) =>
      entities.some((entity) => erased.has(entity)) ||
      owned.some((entity) => erased.has(entity)) ||
      positions.some(([source, position]) => position < (missed.get(source) ?? 0));
    await this.#store.memory.deleteWhere(isDoomed);
    try {
      await this.#store.redis?.deleteWhere(isDoomed, () => this.#closed);
    } catch (error) {
      for (const entity of erased) this.#erased.add(entity);
      for (const [source, position] of missed) {
        this.#missed.set(source, Math.max(position, this.#missed.get(source) ?? 0));
      }
      throw error;
    }
  }
}
