import { setTimeout as sleep } from 'node:timers/promises';
import { type Kysely, sql } from 'kysely';
import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import { isPassing } from '../postgres/failure.js';
import { applyOrPark, hasDeadLetters } from './dead-letters.js';
import type { LedgerEvent } from './event.js';
import type { EventBus, LedgerHead } from './event-bus.js';
import type { ApplyEvents, Feed } from './feed.js';
import { lockPosition, storePosition } from './positions.js';
import { SenderClock } from './sender-clock.js';

const PAGE = 500;
/** How often the ledger is read until the copy is level for the first time: the start waits for it. */
const FIRST_POLLS_MS = 50;
/** How long after a head that is ahead of us the position in the database is looked at. */
const LOOK_MS = 20;
/** A problem is told of when it lasts longer. */
const PATIENCE_MS = 2000;
/** A head that is older says nothing about now: the owner, or the way to it, is down. */
const HEAD_VALID_MS = 3000;
/** How many heads beyond the copy's position are remembered; beyond, the newest takes the place of the one before it. */
const MAX_HEADS_AHEAD = 64;
/** The age of a copy that is not known to have been in sync ever. */
const UNKNOWN_AGE_MS = 999_999_999_999;

export interface ConsumerOptions<Tables> {
  /** Stays the same from run to run: the position is kept under it. */
  readonly name: string;
  readonly feed: Feed<Tables>;
  readonly db: Kysely<Tables>;
  readonly bus: EventBus;
  /** How often the ledger is looked at, in case the bus brought nothing. */
  readonly pollIntervalMs: number;
  readonly logger: Logger;
  readonly metrics: ConsumerMetrics;
}

/** How fresh a copy is. */
export interface Freshness {
  /** The last event that took effect. */
  readonly position: number;
  /** The last event of the owner's ledger, as far as is known. */
  readonly head: number;
  /** For how long, in seconds, the copy may have been behind its owner; 0 when it is known to be level. */
  readonly lagSeconds: number;
  /** The copy has everything that its owner had committed so many milliseconds ago; UNKNOWN_AGE_MS when it was never known to be in sync. */
  readonly ageMs: number;
}

/**
 * Applies the events of one source, each exactly once and in order: the effect and the position are committed together.
 *
 * The bus is the fast way. Whatever it repeats is skipped, whatever it leaves out is read from the owner's ledger.
 */
export class EventConsumer<Tables> {
  readonly #options: ConsumerOptions<Tables>;
  readonly #stopped = new AbortController();
  #position = 0;
  /** The position as it is kept in the database, as far as we know; what lies between has no effect. */
  #stored = 0;
  #head = 0;
  /** The copy has everything that its owner had committed at this time, by `performance.now()`; null when that is not known of any time. */
  #levelAt: number | null = null;
  readonly #startedAt = performance.now();
  readonly #ownerClock = new SenderClock();
  /** Heads beyond the copy's position, in order: when they are reached, it is in sync as of their time (by `performance.now()`). */
  readonly #headsAhead: LedgerHead[] = [];
  #looking = false;
  #reportedMismatch = false;
  #queue: Promise<unknown> = Promise.resolve();
  #unsubscribe: () => Promise<void> = async () => undefined;
  #polling: Promise<void> = Promise.resolve();
  #caughtUp: () => void = () => undefined;
  /** Resolves when the consumer has first reached the end of the ledger. */
  readonly caughtUp: Promise<void>;

  constructor(options: ConsumerOptions<Tables>) {
    this.#options = options;
    this.caughtUp = new Promise((resolve) => {
      this.#caughtUp = resolve;
    });
    options.metrics.track(options.feed.source, () => this.freshness);
  }

  get freshness(): Freshness {
    const age = performance.now() - (this.#levelAt ?? this.#startedAt);
    const level = this.#levelAt !== null && this.#position >= this.#head && age < HEAD_VALID_MS;
    return {
      position: this.#position,
      head: this.#head,
      lagSeconds: level ? 0 : age / 1000,
      ageMs: this.#levelAt === null ? UNKNOWN_AGE_MS : Math.ceil(age),
    };
  }

  /** By how much the owner's clock is ahead of this process's clock; see SenderClock. */
  get ownerClockOffsetMs(): number | null {
    return this.#ownerClock.offsetMs;
  }

  async start(): Promise<void> {
    const { bus, feed, name } = this.#options;
    this.#unsubscribe = await bus.subscribe(feed.source, name, {
      onEvents: (events) => this.#oneAtATime(() => this.#take(events)),
      onHead: (head) => this.#hearOfHead(head),
    });
    this.#polling = this.#poll();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#unsubscribe();
    await this.#polling;
    await this.#queue;
  }

  #oneAtATime<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(run);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  #hearOfHead({ position, at }: LedgerHead): void {
    this.#head = Math.max(this.#head, position);
    // The time of the owner's look, not that of its arrival: on the way here more may have been committed.
    this.#headsAhead.splice(MAX_HEADS_AHEAD - 1);
    this.#headsAhead.push({ position, at: this.#ownerClock.toLocal(at) });
    this.#noteHeadsReached();
    if (this.#position < position) void this.#lookBeside(position);
  }

  #noteHeadsReached(): void {
    for (let head = this.#headsAhead[0]; head && head.position <= this.#position; head = this.#headsAhead[0]) {
      this.#inSyncAsOf(head.at);
      this.#headsAhead.shift();
    }
  }

  #inSyncAsOf(at: number): void {
    this.#levelAt = Math.max(this.#levelAt ?? at, at);
  }

  #moveTo(position: number): void {
    // Somebody put the position back: the copy is older again, nobody knows by how much.
    if (position < this.#position) this.#levelAt = null;
    this.#position = position;
    this.#noteHeadsReached();
  }

  /** Another process of this service may have applied what the bus did not bring to this one. */
  async #lookBeside(position: number): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      await sleep(LOOK_MS, undefined, { signal: this.#stopped.signal });
      if (this.#position < position) await this.#oneAtATime(() => this.#loadPosition());
    } catch {
      // Stopped; or the database is away, which whoever applies events says.
    } finally {
      this.#looking = false;
    }
  }

  /** Reads the ledger now and then: at the start, when the bus is silent, and to say how far we are. */
  async #poll(): Promise<void> {
    const { signal } = this.#stopped;
    const { name, pollIntervalMs, logger } = this.#options;
    const { ledger, source } = this.#options.feed;
    let reported = -1;
    let failingSince: number | null = null;
    let told = false;
    let pause = Math.min(pollIntervalMs, FIRST_POLLS_MS);
    while (!signal.aborted) {
      try {
        if (await this.#oneAtATime(() => this.#readOn(Number.POSITIVE_INFINITY))) {
          pause = pollIntervalMs;
          this.#caughtUp();
        }
        await this.#oneAtATime(() => this.#keepPosition());
        // It may grow while it is being told.
        const position = this.#stored;
        if (position !== reported) await ledger.reportPosition(name, position);
        reported = position;
        if (told) logger.info({ source }, 'events are applied again');
        failingSince = null;
        told = false;
      } catch (error) {
        failingSince ??= performance.now();
        // While services start and stop beside each other, one of them is away for a moment.
        const problem = (error as Error).message;
        if (!told && !signal.aborted && performance.now() - failingSince > PATIENCE_MS) {
          logger.warn({ source, problem }, 'events cannot be read or applied');
          told = true;
        }
      }
      await sleep(pause, undefined, { signal }).catch(() => undefined);
    }
  }

  async #take(events: readonly LedgerEvent[]): Promise<void> {
    const inOrder = events.toSorted((a, b) => a.position - b.position);
    let rest = inOrder.filter((event) => event.position > this.#position);
    while (rest[0]) {
      const before = rest[0].position - 1;
      if (before > this.#position) await this.#readOn(before);
      // Whoever comes next is given the rest.
      this.#stopped.signal.throwIfAborted();
      if (before > this.#position) {
        // What is published has its place in the ledger before. These are events that the owner does not have (any more).
        this.#reportMismatch(
          'the event bus has events beyond the end of the event log; they are ignored',
          rest[0].position,
        );
        return;
      }
      const first = this.#position + 1;
      rest = rest.filter((event) => event.position >= first);
      // As many as follow each other; a duplicate of one of them is dropped.
      const run: LedgerEvent[] = [];
      for (const event of rest) if (event.position === first + run.length) run.push(event);
      await this.#commit(run);
      rest = rest.filter((event) => event.position > this.#position);
    }
  }

  /** Applies the ledger up to a position, or to its end. @returns whether the copy is level with its owner */
  async #readOn(until: number): Promise<boolean> {
    const { ledger, source } = this.#options.feed;
    for (;;) {
      await this.#loadPosition();
      if (this.#position >= until || this.#stopped.signal.aborted) return false;
      const askedAt = performance.now();
      const { head, more, events } = await ledger.read(this.#position, PAGE, this.#stopped.signal);
      this.#head = Math.max(this.#head, head);
      const whole = events.every((event, i) => event.position === this.#position + 1 + i);
      if (!whole) throw new Error(`The ledger of ${source} has a hole after ${this.#position}.`);
      if (events.length > 0) await this.#commit(events);
      if (this.#position > head) {
        this.#reportMismatch('the copy is beyond the end of the event log; rebuild it', this.#position);
        return !more;
      }
      if (this.#position === head) {
        if (!more) this.#inSyncAsOf(askedAt);
        return !more;
      }
      if (events.length === 0) throw new Error(`The ledger of ${source} has a hole after ${this.#position}.`);
    }
  }

  /** The owner's event log is shorter than what came from it: it was put back from a backup, say. Reported once. */
  #reportMismatch(message: string, position: number): void {
    if (this.#reportedMismatch) return;
    this.#reportedMismatch = true;
    this.#options.logger.error({ source: this.#options.feed.source, position, head: this.#head }, message);
  }

  /** Gives events that follow each other, from the next one on, their effect. */
  async #commit(events: readonly LedgerEvent[]): Promise<void> {
    const { name, feed } = this.#options;
    const last = events.at(-1);
    if (last && !events.some(feed.wants)) {
      // Nothing to do: the position is kept with the next effect, or at the next look at the ledger.
      this.#head = Math.max(this.#head, last.position);
      this.#moveTo(last.position);
      return;
    }
    const park: ApplyEvents<Tables> = (transaction, wanted) => applyOrPark(transaction, name, wanted, feed.apply);
    try {
      await this.#commitBy(events, async (transaction, wanted) => {
        const careful = await hasDeadLetters(transaction, name, feed.source);
        await (careful ? park : feed.apply)(transaction, wanted);
      });
    } catch (error) {
      if (isPassing(error)) throw error;
      // Something in the batch is bad.
      await this.#commitBy(events, park);
    }
  }

  async #commitBy(events: readonly LedgerEvent[], apply: ApplyEvents<Tables>): Promise<void> {
    const { db, name, feed } = this.#options;
    const reached = await db.transaction().execute(async (transaction) => {
      const stored = await lockPosition(transaction, name, feed.source);
      // Another process of this service may have been here. What it has not seen of what we passed over has no effect.
      const before = stored < this.#stored ? stored : Math.max(stored, this.#position);
      const fresh = events.filter((event) => event.position > before);
      const last = fresh.at(-1);
      if (!last || fresh[0]?.position !== before + 1) return { stored, position: before };
      const wanted = fresh.filter(feed.wants);
      if (wanted.length > 0) await apply(transaction, wanted);
      await storePosition(transaction, name, feed.source, last.position);
      return { stored: last.position, position: last.position };
    });
    this.#stored = reached.stored;
    this.#head = Math.max(this.#head, reached.position);
    this.#moveTo(reached.position);
  }

  /** Keeps the position, when it moved without an effect. */
  async #keepPosition(): Promise<void> {
    const { name, db, feed } = this.#options;
    const position = this.#position;
    if (position <= this.#stored) return;
    await db.transaction().execute(async (transaction) => {
      const stored = await lockPosition(transaction, name, feed.source);
      if (stored >= this.#stored && stored < position) await storePosition(transaction, name, feed.source, position);
    });
    this.#stored = position;
  }

  async #loadPosition(): Promise<void> {
    const { db, name } = this.#options;
    const { source } = this.#options.feed;
    const { rows } = await sql<{ position: number }>`
      select position from consumer_positions where consumer = ${name} and source = ${source}
    `.execute(db);
    const stored = rows[0]?.position ?? 0;
    // What we passed over since needs not be read again, unless the position was put back.
    if (stored < this.#stored || stored > this.#position) this.#moveTo(stored);
    this.#stored = stored;
  }
}

/** The freshness of all copies of a service, for Prometheus. */
export class ConsumerMetrics {
  readonly #tracked = new Map<string, () => Freshness>();

  constructor(metrics: Registry) {
    const gauge = (name: string, help: string, read: (freshness: Freshness) => number) => {
      const tracked = this.#tracked;
      new Gauge({
        name,
        help,
        labelNames: ['source'],
        registers: [metrics],
        aggregator: 'max',
        collect() {
          for (const [source, freshness] of tracked) this.set({ source }, read(freshness()));
        },
      });
    };
    gauge(
      'copy_lag_seconds',
      'For how long the copy may have been behind its owner; 0 when it is level',
      (f) => f.lagSeconds,
    );
    gauge('copy_position', 'The last event that took effect', (f) => f.position);
    gauge('copy_head', "The last event of the owner's ledger, as far as is known", (f) => f.head);
  }

  track(source: string, freshness: () => Freshness): void {
    this.#tracked.set(source, freshness);
  }
}
