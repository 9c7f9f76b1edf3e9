import { performance } from 'node:perf_hooks';
import { Abandonment } from '../lib/abandonment.js';
import type { SubgraphResult } from '../subgraph/subgraph-client.js';
import { copyOf } from './merge.js';

interface UnderWay {
  readonly result: Promise<SubgraphResult>;
  readonly abandonment: Abandonment;
  /** As `performance.now()` says it. */
  readonly begunAt: number;
  /** Who has not taken it yet. */
  takers: number;
}

/** Queries to subgraphs that are under way: who wants the same, with the same credentials, waits for the same answer. */
export class SharedFetches {
  readonly #underWay = new Map<string, UnderWay>();
  readonly #enabled: boolean;

  constructor(enabled: boolean) {
    this.#enabled = enabled;
  }

  /** Something was changed: whoever asks from now on must not be given what was asked before. */
  forget(): void {
    this.#underWay.clear();
  }

  /** Whether a request would join a fetch: one that began no longer ago than its staleness bound allows; with a bound of 0, none. */
  has(key: string, maxStalenessMs = Number.POSITIVE_INFINITY): boolean {
    return this.#joinable(key, maxStalenessMs) !== undefined;
  }

  /**
   * Sends, or waits for who has sent. What was sent is abandoned when all who wait for it are.
   *
   * @returns an answer that is the caller's own, to change as it likes; an empty one when the caller was abandoned meanwhile
   */
  async fetch(
    key: string,
    abandonment: Abandonment | null,
    send: (abandonment: Abandonment | null) => Promise<SubgraphResult>,
    maxStalenessMs = Number.POSITIVE_INFINITY,
  ): Promise<SubgraphResult> {
    if (!this.#enabled) return send(abandonment);
    const fetch = this.#joinable(key, maxStalenessMs) ?? this.#start(key, send);
    fetch.takers += 1;
    const leave = () => {
      fetch.takers -= 1;
      if (fetch.takers > 0) return;
      fetch.abandonment.happen();
      this.#end(key, fetch);
    };
    const stay = abandonment?.listen(leave);
    const result = await fetch.result;
    // The last who waits is given the answer itself: whoever left before must not hold it, too.
    if (abandonment?.happened) return {};
    stay?.();
    fetch.takers -= 1;
    return fetch.takers === 0 ? result : { ...result, data: copyOf(result.data) };
  }

  #joinable(key: string, maxStalenessMs: number): UnderWay | undefined {
    const fetch = maxStalenessMs > 0 ? this.#underWay.get(key) : undefined;
    return fetch && performance.now() - fetch.begunAt <= maxStalenessMs ? fetch : undefined;
  }

  #start(key: string, send: (abandonment: Abandonment) => Promise<SubgraphResult>): UnderWay {
    const abandonment = new Abandonment();
    const fetch = { result: send(abandonment), abandonment, begunAt: performance.now(), takers: 0 };
    this.#underWay.set(key, fetch);
    const end = () => this.#end(key, fetch);
    fetch.result.then(end, end);
    return fetch;
  }

  #end(key: string, fetch: UnderWay): void {
    if (this.#underWay.get(key) === fetch) this.#underWay.delete(key);
  }
}
