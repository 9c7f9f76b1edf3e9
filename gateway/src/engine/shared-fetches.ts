import { copyOf } from './merge.js';
import type { SubgraphResult } from './types.js';

interface UnderWay {
  readonly result: Promise<SubgraphResult>;
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

  /** @returns an answer that is the caller's own, to change as he likes */
  async fetch(key: string, send: () => Promise<SubgraphResult>): Promise<SubgraphResult> {
    if (!this.#enabled) return send();
    let fetch = this.#underWay.get(key);
    if (fetch) fetch.takers += 1;
    else {
      fetch = { result: send(), takers: 1 };
      this.#underWay.set(key, fetch);
      const started = fetch;
      const forget = () => {
        if (this.#underWay.get(key) === started) this.#underWay.delete(key);
      };
      fetch.result.then(forget, forget);
    }
    const result = await fetch.result;
    fetch.takers -= 1;
    return fetch.takers === 0 ? result : { ...result, data: copyOf(result.data) };
  }
}
