import type { Random } from '../harness/random.ts';

/** Deals every card once, in a random order, before it deals any again. */
export class Deck<T> {
  readonly #cards: readonly T[];
  readonly #random: Random;
  #rest: T[] = [];

  constructor(cards: readonly T[], random: Random) {
    this.#cards = cards;
    this.#random = random;
  }

  draw(): T {
    return this.#next(() => true) as T;
  }

  /** The next card that fits; null when none of the rest does. */
  drawWhere(fits: (card: T) => boolean): T | null {
    return this.#next(fits);
  }

  #next(fits: (card: T) => boolean): T | null {
    if (this.#rest.length === 0) this.#rest = this.#random.shuffle(this.#cards);
    const found = this.#rest.findIndex(fits);
    return found < 0 ? null : (this.#rest.splice(found, 1)[0] as T);
  }
}
