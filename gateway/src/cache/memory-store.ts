import { LRUCache } from 'lru-cache';
import { Gauge, type Registry } from 'prom-client';
import type { CacheEntry } from './cache-entry.js';

const OVERHEAD_BYTES = 300;
/** Entries that are visited before other work has its turn. */
const ENTRIES_PER_TURN = 5000;

/** L1: a bounded cache in the memory of this process. */
export class MemoryStore {
  readonly #entries: LRUCache<string, CacheEntry>;
  readonly #nextTurn: () => Promise<void>;

  /** @param nextTurn resolves when other work had its turn */
  constructor(maxBytes: number, metrics: Registry, nextTurn: () => Promise<void>) {
    this.#nextTurn = nextTurn;
    this.#entries = new LRUCache({
      maxSize: Math.max(1, maxBytes),
      sizeCalculation: ({ text }, key) => 2 * (text.length + key.length) + OVERHEAD_BYTES,
    });
    const entries = this.#entries;
    new Gauge({
      name: 'gateway_cache_bytes',
      help: 'Estimated size of the cache in the memory of this process',
      registers: [metrics],
      aggregator: 'sum',
      collect() {
        this.set(entries.calculatedSize);
      },
    });
  }

  get(key: string): CacheEntry | undefined {
    return this.#entries.get(key);
  }

  set(key: string, entry: CacheEntry): void {
    this.#entries.set(key, entry);
  }

  /** Deletes the entries that match; others can be read and written meanwhile. */
  async deleteWhere(matches: (entry: CacheEntry) => boolean): Promise<void> {
    const keys = [...this.#entries.keys()];
    for (let i = 0; i < keys.length; i++) {
      if (i % ENTRIES_PER_TURN === ENTRIES_PER_TURN - 1) await this.#nextTurn();
      const entry = this.#entries.peek(keys[i] as string);
      if (entry && matches(entry)) this.#entries.delete(keys[i] as string);
    }
  }
}
