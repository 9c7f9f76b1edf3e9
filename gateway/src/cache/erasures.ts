import { performance } from 'node:perf_hooks';
import type { CacheEntry, CacheStore } from './cache-store.js';
import type { StreamObserver, Streams } from './streams.js';

/** Erasures that wait; beyond, everything that was read before them is deleted. */
const MAX_PENDING = 10_000;
/** What came meanwhile is done in one pass. */
const GATHER_MS = 50;
const TICK_MS = 1000;
/** Redis forgets what is not repeated. */
const REPEAT_MS = 60_000;
/** So often it is looked whether other gateways carried out what happened before this one listened. */
const LOOKS = 3;

/**
 * Deletes what the cache holds of users whose personal data was erased, in memory and in Redis, which each gateway does for itself. What it may
 * have missed, because it was not running or was cut off, it makes up for by deleting all that was read before; unless another gateway
 * has carried it out: Redis says up to which position of a source that was done.
 *
 * What Redis cannot do now is tried again every second.
 */
export class Erasures implements StreamObserver {
  readonly #store: CacheStore;
  readonly #streams: Streams;
  readonly #ticks: NodeJS.Timeout | undefined;
  /** `Type:id` and `*Type`. */
  #erased = new Set<string>();
  /** By source: what was read before this position is deleted. */
  #missed = new Map<string, number>();
  /** By source: from which position on this process listens, and how often it has looked in vain who carried out what was before. */
  readonly #beginnings = new Map<string, { readonly position: number; looks: number }>();
  /** By source: up to which position Redis was told that erasures are carried out. */
  readonly #covered = new Map<string, { readonly position: number; readonly at: number }>();
  #gathering: NodeJS.Timeout | undefined;
  #working = false;
  /** Between two passes there is as much time as the first of them took: requests have at least half of the process. */
  #restUntil = 0;
  #closed = false;

  constructor(store: CacheStore, streams: Streams) {
    this.#store = store;
    this.#streams = streams;
    if (store.hasFar) this.#ticks = setInterval(() => this.#work(true), TICK_MS).unref();
  }

  onErased(entities: readonly string[]): void {
    for (const entity of entities) {
      this.#erased.add(entity);
      this.#erased.add(`*${entity.slice(0, entity.indexOf(':'))}`);
    }
    if (this.#erased.size > MAX_PENDING) {
      this.#erased.clear();
      for (const [source, position] of this.#streams.positions()) this.#missed.set(source, position);
    }
    this.#soon();
  }

  onBeginning(source: string, position: number): void {
    if (!this.#store.hasFar) return;
    this.#beginnings.set(source, { position, looks: 0 });
  }

  onGap(source: string, position: number): void {
    this.#missed.set(source, position);
    this.#soon();
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#ticks);
    clearTimeout(this.#gathering);
  }

  #soon(): void {
    if (this.#closed) return;
    const wait = () => {
      this.#gathering = undefined;
      this.#work(false);
    };
    this.#gathering ??= setTimeout(wait, Math.max(GATHER_MS, this.#restUntil - performance.now())).unref();
  }

  /** Does one thing at a time. What does not work is tried again with the next tick. */
  #work(isTick: boolean): void {
    const startedAt = performance.now();
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
          this.#store.farFailed(error.message);
          return false;
        },
      )
      .then((succeeded) => {
        const now = performance.now();
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
    if (!isTick || !this.#store.isFarConnected) return;
    for (const [source, beginning] of this.#beginnings) {
      const isCovered = (await this.#store.erasedUpTo(source)) >= beginning.position;
      beginning.looks += 1;
      if (!isCovered && beginning.looks < LOOKS) continue;
      this.#beginnings.delete(source);
      if (!isCovered) this.#missed.set(source, beginning.position);
    }
    for (const [source, position] of this.#streams.positions()) {
      // Whatever was heard of up to this position is carried out, or is left to do.
      if (this.#hasWork) return;
      const covered = this.#covered.get(source);
      const now = performance.now();
      if (this.#beginnings.has(source) || (covered?.position === position && now - covered.at < REPEAT_MS)) continue;
      await this.#store.noteErasedUpTo(source, position);
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
    await this.#store.deleteNear(isDoomed);
    try {
      await this.#store.deleteFar(isDoomed, () => this.#closed);
    } catch (error) {
      for (const entity of erased) this.#erased.add(entity);
      for (const [source, position] of missed) {
        this.#missed.set(source, Math.max(position, this.#missed.get(source) ?? 0));
      }
      throw error;
    }
  }
}
