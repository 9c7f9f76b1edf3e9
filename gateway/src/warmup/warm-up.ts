import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { systemTime, type Time } from '@tributary/server';
import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';
import type { Graph, GraphWarmUp, WarmUpReport } from '../runtime/index.js';
import type { OperationsStore } from './operations-store.js';
import { storableText } from './storable-text.js';
import { type UsedOperation, UsedOperations } from './used-operations.js';

export interface WarmUpOptions {
  /** The longest time for which a new graph waits for its plans, in milliseconds. */
  readonly timeoutMs: number;
  /** The most operations that are planned. */
  readonly maxOperations: number;
  /** Where they are stored, closed with the warm-up; null: in memory only. */
  readonly store: OperationsStore | null;
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly time?: Time;
}

/** What became of an operation: `late` when the time was over, `invalid` when its document is invalid on the new graph. */
type Outcome = 'planned' | 'invalid' | 'failed' | 'late';

const COLLECT_MS = 60_000;
const MAX_OPERATIONS = 1000;
/** How many operations are planned at a time; the graph parses one at a time, and pauses after each. */
const CONCURRENCY = 2;
/** The longest pause after each operation, which is as long as it took: requests to the graph before have half of the time at least. */
const MAX_PAUSE_MS = 20;

/** Plans the most used operations on each new graph before it serves, most used first and in bounded time. */
export class WarmUp implements GraphWarmUp<Graph> {
  readonly #options: WarmUpOptions;
  readonly #time: Time;
  readonly #operations: UsedOperations;
  readonly #outcomes: Counter<'outcome'>;
  readonly #loaded: Promise<void> | undefined;
  readonly #collecting: NodeJS.Timeout;
  readonly #closing = new AbortController();
  /** The graph that counts the uses: the one in service. */
  #serving: Graph | null = null;
  #isRunning = false;

  constructor(options: WarmUpOptions) {
    this.#options = options;
    this.#time = options.time ?? systemTime;
    this.#operations = new UsedOperations(Math.min(options.maxOperations, MAX_OPERATIONS));
    this.#outcomes = new Counter({
      name: 'gateway_warmed_operations_total',
      help: 'Operations to be planned on a new supergraph before it serves, by outcome: planned, invalid, failed, late',
      labelNames: ['outcome'],
      registers: [options.metrics],
    });
    this.#loaded = options.store?.load(this.#operations);
    this.#collecting = setInterval(() => void this.#collectAndSave(), COLLECT_MS).unref();
  }

  async run(graph: Graph): Promise<WarmUpReport | null> {
    await this.#loaded;
    await this.#collect();
    this.#isRunning = true;
    try {
      return this.#operations.entries.length > 0 ? await this.#plan(graph) : null;
    } finally {
      this.#isRunning = false;
      this.#serving = graph;
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#collecting);
    this.#closing.abort();
    await this.#collectAndSave();
    this.#options.store?.close();
  }

  async #plan(graph: Graph): Promise<WarmUpReport> {
    const started = this.#time.monotonic();
    const { entries } = this.#operations;
    const counts = { planned: 0, invalid: 0, failed: 0, late: 0 };
    const ended = this.#endOfTime();
    const waiting = entries.values();
    const work = async () => {
      for (const entry of waiting) {
        if (ended.signal.aborted) break;
        const startedAt = this.#time.monotonic();
        const outcome = await warm(graph, entry);
        const tookMs = this.#time.monotonic() - startedAt;
        if (!ended.signal.aborted) counts[outcome] += 1;
        if (this.#serving) await sleep(Math.min(tookMs, MAX_PAUSE_MS));
      }
    };
    const isOver = new Promise((resolve) => ended.signal.addEventListener('abort', resolve));
    // What is being planned when the time is over is planned, but not waited for.
    await Promise.race([isOver, Promise.all(Array.from({ length: CONCURRENCY }, work))]);
    ended.clear();
    counts.late = entries.length - counts.planned - counts.invalid - counts.failed;
    for (const [outcome, count] of Object.entries(counts)) this.#outcomes.inc({ outcome }, count);
    const durationMs = Math.round(this.#time.monotonic() - started);
    return { ...counts, durationMs };
  }

  /** Aborted when the time of a warm-up is over, or when the gateway closes. */
  #endOfTime(): { readonly signal: AbortSignal; clear(): void } {
    const over = new AbortController();
    const timer = this.#time.setTimeout(() => over.abort(), this.#options.timeoutMs, { unref: true });
    return { signal: AbortSignal.any([over.signal, this.#closing.signal]), clear: () => timer.clear() };
  }

  async #collectAndSave(): Promise<void> {
    await this.#collect();
    await this.#options.store?.save(this.#operations);
  }

  async #collect(): Promise<void> {
    // While it runs, operations get the hashes that they have on the new graph.
    if (!this.#serving || this.#isRunning) return;
    const added = this.#operations.collect(this.#serving);
    if (!this.#options.store) return;
    for (const [entry, operation] of added) {
      entry.storable = storableText(operation);
      await nextTurn();
    }
  }
}

async function warm(graph: Graph, entry: UsedOperation): Promise<Outcome> {
  try {
    const hash = await graph.warm(entry.source, entry.variant);
    if (hash === null) return 'invalid';
    entry.hash = hash;
    return 'planned';
  } catch {
    // The first client that sends it gets the error.
    return 'failed';
  }
}
