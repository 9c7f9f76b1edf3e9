import { Abandonment } from './abandonment.js';
import { copyOf } from './merge.js';
import type { SubgraphResult } from './types.js';

interface UnderWay {
  readonly result: Promise<SubgraphResult>;
  readonly abandonment: Abandonment;
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

  /** Whether somebody asked for this already. */
  has(key: string): boolean {
    return this.#enabled && this.#underWay.has(key);
  }

  /**
   * Sends, or waits for who has sent. What was sent is abandoned when all who wait for it are.
   *
   * @returns an answer that is the caller's own, to change as he likes
   */
  async fetch(
    key: string,
    abandonment: Abandonment | null,
    send: (abandonment: Abandonment | null) => Promise<SubgraphResult>,
  ): Promise<SubgraphResult> {
    if (!this.#enabled) return send(abandonment);
    const fetch = this.#underWay.get(key) ?? this.#start(key, send);
    fetch.takers += 1;
    const leave = () => {
      fetch.takers -= 1;
      if (fetch.takers > 0) return;
      fetch.abandonment.happen();
      this.#end(key, fetch);
    };
    const stay = abandonment?.listen(leave);
    const result = await fetch.result;
    if (abandonment?.happened) return result;
    stay?.();
    fetch.takers -= 1;
    return fetch.takers === 0 ? result : { ...result, data: copyOf(result.data) };
  }

  #start(key: string, send: (abandonment: Abandonment) => Promise<SubgraphResult>): UnderWay {
    const abandonment = new Abandonment();
    const fetch = { result: send(abandonment), abandonment, takers: 0 };
    this.#underWay.set(key, fetch);
    const end = () => this.#end(key, fetch);
    fetch.result.then(end, end);
    return fetch;
  }

  #end(key: string, fetch: UnderWay): void {
    if (this.#underWay.get(key) === fetch) this.#underWay.delete(key);
  }
}
