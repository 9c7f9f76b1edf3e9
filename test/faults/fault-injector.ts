import { setTimeout as sleep } from 'node:timers/promises';
import type { Part } from '../harness/fault-stack.ts';
import type { Random } from '../harness/random.ts';

/** The longest that a part is away, in milliseconds. */
const LONGEST_MS = 3000;
/** How many parts may be hurt at the same time. */
const AT_ONCE = 2;

export interface Fault {
  readonly part: string;
  readonly kind: 'kill' | 'pause';
  readonly awayMs: number;
}

/** Hurts parts of a stack, one after the other and sometimes two at once, and puts each right again. */
export class FaultInjector {
  readonly faults: Fault[] = [];
  readonly #parts: readonly Part[];
  readonly #random: Random;
  readonly #hurt = new Map<Part, Promise<void>>();
  #order: Part[] = [];

  constructor(parts: readonly Part[], random: Random) {
    this.#parts = parts;
    this.#random = random;
  }

  /** Hurts the next part. Resolves when it began; the part comes back by itself. */
  async strike(): Promise<void> {
    while (this.#hurt.size >= AT_ONCE) await Promise.race(this.#hurt.values());
    const part = this.#nextPart();
    const fault: Fault = {
      part: part.name,
      kind: this.#random.next() < 0.6 ? 'kill' : 'pause',
      awayMs: this.#random.below(LONGEST_MS),
    };
    const loseMemory = this.#random.next() < 0.3;
    this.faults.push(fault);
    const healed = this.#hurtFor(part, fault, loseMemory).finally(() => this.#hurt.delete(part));
    this.#hurt.set(part, healed);
    // Whoever waits for it to come back hears of a failure; nobody has to.
    healed.catch(() => undefined);
  }

  /** Resolves when everything is back. @throws when something does not come back */
  async allBack(): Promise<void> {
    await Promise.all(this.#hurt.values());
  }

  async #hurtFor(part: Part, { kind, awayMs }: Fault, loseMemory: boolean): Promise<void> {
    if (kind === 'pause') part.pause();
    else await part.kill(loseMemory);
    await sleep(awayMs);
    if (kind === 'pause') part.resume();
    else await part.start();
  }

  /** Every part has its turn before one has it again. */
  #nextPart(): Part {
    if (this.#order.length === 0) {
      const rest = [...this.#parts];
      while (rest.length > 0) this.#order.push(...rest.splice(this.#random.below(rest.length), 1));
    }
    const free = this.#order.findIndex((part) => !this.#hurt.has(part));
    if (free >= 0) return this.#order.splice(free, 1)[0] as Part;
    this.#order = [];
    return this.#nextPart();
  }
}
