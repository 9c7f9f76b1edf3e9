import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { type EventBus, isErased, type LedgerEvent, type LedgerHead } from '@tributary/bus';
import { anySignal, Fault, settledWithin, Turns } from '@tributary/server';
import type { Kysely } from 'kysely';
import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import { inOneLine } from '../copies/audit.js';
import { LedgerGoneError, type LedgerPage } from '../outbox/outbox.js';
import { CopyState, type Freshness } from './copy-state.js';
import { applyOrPark } from './dead-letters.js';
import type { ApplyEvents, Feed } from './feed.js';
import { lockPosition, readCopyState, storeInSyncTime, storePosition } from './positions.js';

export type { Freshness } from './copy-state.js';

/** The most events that are read from the log, or applied in one transaction, at a time. */
const PAGE = 500;
/** How often the event log is read until the copy is level for the first time: the start waits for it. */
const FIRST_POLLS_MS = 50;
/** The longest pause after a look at the event log that failed. */
const MAX_RETRY_MS = 1000;
/** How long after a head that is ahead of us the position in the database is looked at. */
const LOOK_MS = 20;
/** How long nothing leads to a head until the event log is read; up to half as much is added, so that of several processes one reads. */
const GAP_MS = 200;
/** A fault is reported when it lasts longer. */
const PATIENCE_MS = 2000;
/** How often it is noted in the database as of when the copy was in sync. */
const NOTE_MS = 3000;
/** A copy that was not known to be in sync for so long, and for the time between two looks at the log, is late. */
const LATE_MS = 5000;
const MAX_POLL_COUNTED_MS = 30_000;
/** How often the owner is told the position when it has not changed: its database may have been put back since. */
const REPORT_MS = 60_000;
/** How long `recall` waits for the database. */
const RECALL_MS = 2000;
/** How long `stop` waits for a transaction under way. */
const STOP_MS = 800;

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

/** A page of the owner's event log. */
interface Page extends LedgerPage {
  /** It has the events after this position. */
  readonly after: number;
  /** When it was asked for, by `performance.now()`. */
  readonly askedAt: number;
}

/**
 * Applies the events of one source, each exactly once and in order: the effect and the position are committed together.
 *
 * The bus is the fast way. Whatever it repeats is skipped, whatever it leaves out is read from the owner's ledger.
 */
export class EventConsumer<Tables> {
  readonly #options: ConsumerOptions<Tables>;
  readonly #stopped = new AbortController();
  readonly #state = new CopyState();
  /** The position as it is kept in the database, as far as we know; what lies between has no effect. */
  #stored = 0;
  /** The in-sync time that was last noted in the database, by `performance.now()`. */
  #notedInSyncAt = Number.NEGATIVE_INFINITY;
  #reachedEnd = false;
  /** How many events are read, or applied, at a time: fewer after a failure, which may be because there were too many. */
  #batchSize = PAGE;
  #commitFails = false;
  /** The reader of the event log has more than a page to go. */
  #catchingUp = false;
  #looking = false;
  #fillingGap = false;
  #noting = false;
  #reportedMismatch = false;
  readonly #database = new Turns();
  readonly #log = new Turns();
  #subscription: Promise<() => Promise<void>> = Promise.resolve(async () => undefined);
  #polling: Promise<void> = Promise.resolve();
  readonly #unread: Fault;
  readonly #gone: Fault;
  readonly #unapplied: Fault;
  readonly #unreported: Fault;
  #caughtUp: () => void = () => undefined;
  #inSyncOnce: () => void = () => undefined;
  /** Resolves when the consumer has first reached the end of the ledger. */
  readonly caughtUp: Promise<void>;
  /** Resolves when the copy was in sync with its owner once, in this process or in an earlier one. */
  readonly inSyncOnce: Promise<void>;

  constructor(options: ConsumerOptions<Tables>) {
    this.#options = options;
    const { feed, logger, metrics } = options;
    const fault = (began: string, ended: string, level: 'warn' | 'error' = 'warn') =>
      new Fault({ logger, began, ended, level, details: { source: feed.source }, patienceMs: PATIENCE_MS });
    this.#unread = fault(
      'the event log cannot be read; what the event bus does not bring is missing in the copy',
      'the event log can be read again',
    );
    this.#gone = fault(
      'the owner has deleted events that the copy has not applied; run "tributary verify --repair"',
      'the copy follows the event log again',
      'error',
    );
    this.#unapplied = fault('events cannot be applied; the copy falls behind', 'events are applied again');
    this.#unreported = fault(
      'the position cannot be reported to the owner, which keeps events until it is',
      'the position is reported again',
    );
    this.caughtUp = new Promise((resolve) => {
      this.#caughtUp = resolve;
    });
    this.inSyncOnce = new Promise((resolve) => {
      this.#inSyncOnce = resolve;
    });
    metrics.track(feed.source, () => this.freshness);
  }

  get freshness(): Freshness {
    return this.#state.freshness(this.#problem());
  }

  /** By how much the owner's clock is ahead of this process's clock; see SenderClock. */
  get ownerClockOffsetMs(): number | null {
    return this.#state.ownerClockOffsetMs;
  }

  /**
   * Reads how far the copy is and as of when it was in sync, as an earlier process noted it. It gives up after two seconds;
   * then the copy counts as never in sync until the database answers.
   */
  async recall(): Promise<void> {
    await settledWithin(RECALL_MS, [this.#database.take(() => this.#recall())]);
  }

  /** Begins to apply events. */
  async start(): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    const { bus, feed, name } = this.#options;
    this.#subscription = bus.subscribe(feed.source, name, {
      onEvents: (events) => this.#take(events),
      onHead: (head) => this.#hearOfHead(head),
    });
    this.#polling = this.#poll();
    await this.#subscription;
  }

  /** Ends within a second. What hangs longer ends when the database's connections are closed. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    const unsubscribed = this.#subscription.then((unsubscribe) => unsubscribe());
    await settledWithin(STOP_MS, [unsubscribed, this.#polling, this.#log.over, this.#database.over]);
    for (const fault of [this.#unread, this.#gone, this.#unapplied, this.#unreported]) fault.stop();
  }

  #problem(): string | null {
    const { source } = this.#options.feed;
    const cause = this.#gone.cause ?? this.#unapplied.cause ?? this.#unread.cause;
    const lateMs = LATE_MS + Math.min(this.#options.pollIntervalMs, MAX_POLL_COUNTED_MS);
    const { confirmed, inSyncAt, unconfirmedMs } = this.#state;
    const late = !confirmed || inSyncAt === null || unconfirmedMs > lateMs;
    if (!late) return cause;
    return cause === null ? this.#state.describeAge(source) : `${this.#state.describeAge(source)}: ${cause}`;
  }

  #hearOfHead(head: LedgerHead): void {
    this.#state.hearOfHead(head);
    this.#noteProgress();
    if (this.#state.position < head.position) void this.#lookBeside(head.position);
  }

  #noteProgress(): void {
    if (!this.#state.everInSync) return;
    this.#inSyncOnce();
    if (!this.#noting && this.#hasNewInSyncTime()) void this.#note();
  }

  #hasNewInSyncTime(): boolean {
    const { inSyncAt } = this.#state;
    return inSyncAt !== null && inSyncAt - this.#notedInSyncAt >= NOTE_MS;
  }

  async #note(): Promise<void> {
    this.#noting = true;
    try {
      await this.#database.take(() => this.#keepPosition());
    } catch {
      // Noted with the next head; that the database is away is said by whoever applies events.
    } finally {
      this.#noting = false;
    }
  }

  /** Another process of this service may have applied what the bus did not bring to this one. */
  async #lookBeside(position: number): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      await sleep(LOOK_MS, undefined, { signal: this.#stopped.signal });
      if (this.#state.position < position) await this.#database.take(() => this.#loadPosition());
      if (this.#state.position < position) void this.#fillGap(position);
    } catch {
      // Stopped; or the database is away, which whoever applies events says.
    } finally {
      this.#looking = false;
    }
  }

  /** Reads the event log when nothing brings what leads to a head: the bus leaves out what is too large for it, and may lose the rest. */
  async #fillGap(position: number): Promise<void> {
    if (this.#fillingGap) return;
    this.#fillingGap = true;
    const before = this.#state.position;
    try {
      await sleep(GAP_MS * (1 + Math.random() / 2), undefined, { signal: this.#stopped.signal });
      if (this.#state.position !== before || before >= position) return;
      await this.#database.take(() => this.#loadPosition());
      if (this.#state.position === before) await this.#log.take(() => this.#readOn(Number.POSITIVE_INFINITY));
    } catch {
      // Stopped, or a fault that was noted where it occurred. The next head leads here again.
    } finally {
      this.#fillingGap = false;
    }
  }

  /** Reads the event log now and then: at the start, when the bus is silent, and to say how far we are. */
  async #poll(): Promise<void> {
    const { signal } = this.#stopped;
    const { pollIntervalMs } = this.#options;
    const report = this.#reporter();
    let failures = 0;
    while (!signal.aborted) {
      try {
        if (await this.#log.take(() => this.#readOn(Number.POSITIVE_INFINITY))) this.#noteEnd();
        await this.#database.take(() => this.#keepPosition());
        await report();
        failures = 0;
      } catch {
        // It was noted where it occurred.
        failures += 1;
      }
      const soon = Math.min(FIRST_POLLS_MS * 2 ** Math.min(failures, 10), MAX_RETRY_MS, pollIntervalMs);
      const pause = failures > 0 || !this.#reachedEnd ? soon : pollIntervalMs;
      await sleep(pause, undefined, { signal }).catch(() => undefined);
    }
    // What was reached since is worth keeping: the next process begins there.
    await this.#database.take(() => this.#keepPosition(0)).catch(() => undefined);
  }

  #noteEnd(): void {
    this.#reachedEnd = true;
    // Also of a copy that is beyond the end of the log, which is in sync as of no time.
    this.#state.everInSync = true;
    // Nothing is left that could not be applied.
    this.#noteCommit(null);
    this.#caughtUp();
    this.#inSyncOnce();
  }

  /** @returns what tells the owner how far the copy is, so that it keeps what is not applied */
  #reporter(): () => Promise<void> {
    const { name, feed } = this.#options;
    let reported = -1;
    let reportedAt = Number.NEGATIVE_INFINITY;
    return async () => {
      // It may grow while it is being reported.
      const position = this.#stored;
      if (position === reported && performance.now() - reportedAt < REPORT_MS) return;
      try {
        await feed.ledger.reportPosition(name, position, this.#stopped.signal);
        [reported, reportedAt] = [position, performance.now()];
        this.#unreported.worked();
      } catch (error) {
        this.#noteFault(this.#unreported, error);
      }
    };
  }

  #noteFault(fault: Fault, error: unknown): void {
    if (!this.#stopped.signal.aborted) fault.failed(inOneLine(error));
  }

  async #take(events: readonly LedgerEvent[]): Promise<void> {
    const inOrder = events.toSorted((a, b) => a.position - b.position);
    let rest = inOrder.filter((event) => event.position > this.#state.position);
    while (rest[0]) {
      this.#stopped.signal.throwIfAborted();
      const before = rest[0].position - 1;
      if (before > this.#state.position) {
        // The reader of the log comes by here. Events that wait for it would only take memory.
        if (this.#catchingUp) return;
        await this.#log.take(() => this.#readOn(before));
        // Whoever comes next is given the rest.
        this.#stopped.signal.throwIfAborted();
      }
      if (before > this.#state.position) {
        // What is published has its place in the ledger before. These are events that the owner does not have (any more).
        this.#reportMismatch(
          'the event bus has events beyond the end of the event log; they are ignored',
          rest[0].position,
        );
        return;
      }
      const first = this.#state.position + 1;
      rest = rest.filter((event) => event.position >= first);
      // As many as follow each other; a duplicate of one of them is dropped.
      const run: LedgerEvent[] = [];
      for (const event of rest) if (event.position === first + run.length) run.push(event);
      await this.#apply(run);
      rest = rest.filter((event) => event.position > this.#state.position);
    }
  }

  /** Applies the event log up to a position, or to its end; one reader at a time. @returns whether the copy is level with its owner */
  async #readOn(until: number): Promise<boolean> {
    const state = this.#state;
    const reading = anySignal([this.#stopped.signal]);
    const { signal } = reading;
    let next: { readonly after: number; readonly page: Promise<Page> } | null = null;
    try {
      for (;;) {
        await this.#database.take(() => this.#loadPosition());
        if (state.position >= until || this.#stopped.signal.aborted) return false;
        const page: Page = await (next?.after === state.position ? next.page : this.#readPage(state.position, signal));
        const { after, askedAt, head, more, events } = page;
        const last = events.at(-1)?.position ?? after;
        this.#catchingUp = until === Number.POSITIVE_INFINITY && last < head;
        // The next page comes while this one is applied.
        next =
          last > after && last < Math.min(head, until) ? { after: last, page: this.#readPage(last, signal) } : null;
        next?.page.catch(() => undefined);
        await this.#apply(events);
        if (after > head) {
          this.#reportMismatch('the copy is beyond the end of the event log; rebuild it', after);
          return !more;
        }
        if (state.position >= head) {
          if (!more) state.inSyncAsOf(askedAt);
          return !more;
        }
      }
    } finally {
      this.#catchingUp = false;
      reading.end();
    }
  }

  async #readPage(after: number, signal: AbortSignal): Promise<Page> {
    const { ledger, source } = this.#options.feed;
    const askedAt = performance.now();
    try {
      const page = await ledger.read(after, this.#batchSize, signal);
      const whole = page.events.every((event, i) => event.position === after + 1 + i);
      if (!whole || (page.events.length === 0 && after < page.head))
        throw new Error(`The event log of ${source} has a hole after ${after}.`);
      this.#state.sawHead(page.head);
      this.#unread.worked();
      this.#gone.worked();
      return { ...page, after, askedAt };
    } catch (error) {
      // Otherwise nobody needs the page any more.
      if (!signal.aborted) {
        this.#shrink();
        this.#noteFault(error instanceof LedgerGoneError ? this.#gone : this.#unread, error);
      }
      throw error;
    }
  }

  #shrink(): void {
    this.#batchSize = Math.ceil(this.#batchSize / 2);
  }

  /** The owner's event log is shorter than what came from it: it was put back from a backup, say. Reported once. */
  #reportMismatch(message: string, position: number): void {
    if (this.#reportedMismatch) return;
    this.#reportedMismatch = true;
    this.#options.logger.error({ source: this.#options.feed.source, position, head: this.#state.head }, message);
  }

  /**
   * Gives events that follow each other their effect, in batches that fit. It returns early when they do not follow the position (any more).
   *
   * @throws when they cannot be applied now
   */
  async #apply(events: readonly LedgerEvent[]): Promise<void> {
    const state = this.#state;
    for (;;) {
      const before = state.position;
      const rest = events.filter((event) => event.position > before);
      if (rest[0]?.position !== before + 1) return;
      this.#stopped.signal.throwIfAborted();
      const batch = rest.slice(0, this.#batchSize);
      try {
        await this.#database.take(() => this.#commit(batch));
        this.#noteCommit(null);
        this.#batchSize = Math.min(PAGE, this.#batchSize * 2);
      } catch (error) {
        this.#noteCommit(error);
        // What takes too long may be quick enough in smaller parts. What fails for another reason is tried again later, in smaller parts, too.
        this.#batchSize = Math.ceil(batch.length / 2);
        if (isTooLong(error) && batch.length > 1) continue;
        throw error;
      }
      if (state.position <= before) return;
    }
  }

  #noteCommit(error: unknown): void {
    this.#commitFails = error !== null;
    if (error === null) this.#unapplied.worked();
    else this.#noteFault(this.#unapplied, error);
  }

  async #commit(events: readonly LedgerEvent[]): Promise<void> {
    const { name, feed } = this.#options;
    const last = events.at(-1);
    if (last && !events.some(feed.wants)) {
      // Nothing to do: the position is kept with the next effect, or at the next look at the ledger.
      this.#state.sawHead(last.position);
      if (events[0]?.position === this.#state.position + 1) this.#state.moveTo(last.position);
      return;
    }
    await applyOrPark(events, {
      consumer: name,
      apply: feed.apply,
      commit: (part, apply) => this.#commitBy(part, apply),
      onParked: (event, error) => this.#reportParked(event, error),
    });
  }

  async #commitBy(events: readonly LedgerEvent[], apply: ApplyEvents<Tables>): Promise<void> {
    this.#stopped.signal.throwIfAborted();
    const { db, name, feed } = this.#options;
    const whenCommitted: (() => void)[] = [];
    const reached = await db.transaction().execute(async (transaction) => {
      const stored = await lockPosition(transaction, name, feed.source);
      // Another process of this service may have been here. What it has not seen of what we passed over has no effect.
      const before = stored < this.#stored ? stored : Math.max(stored, this.#state.position);
      const fresh = events.filter((event) => event.position > before);
      const last = fresh.at(-1);
      if (!last || fresh[0]?.position !== before + 1) return { stored, position: before };
      const wanted = fresh.filter(feed.wants);
      if (wanted.length > 0) await apply(transaction, wanted, (run) => whenCommitted.push(run));
      await storePosition(transaction, name, feed.source, last.position);
      return { stored: last.position, position: last.position };
    });
    for (const run of whenCommitted) run();
    this.#stored = reached.stored;
    this.#state.sawHead(reached.position);
    this.#state.moveTo(reached.position);
  }

  /** Without the event's data: it may be personal. */
  #reportParked(event: LedgerEvent, error: string): void {
    const { id, source, type, position, aggregateType, aggregateId } = event;
    this.#options.logger.error(
      { event: id, source, type, position, aggregate: `${aggregateType} ${aggregateId}`, error },
      isErased(event)
        ? 'a deletion could not be applied: its personal data stays in this copy until it is'
        : 'an event could not be applied: it has no effect, and what follows of its aggregate waits behind it',
    );
  }

  /** Keeps the position when it moved without an effect, and as of when the copy was in sync when that is `sinceMs` newer than what was noted. */
  async #keepPosition(sinceMs = NOTE_MS): Promise<void> {
    const { name, db, feed } = this.#options;
    const { position, inSyncAt } = this.#state;
    const isNewer = inSyncAt !== null && inSyncAt - this.#notedInSyncAt > sinceMs;
    if (position <= this.#stored) {
      if (!isNewer) return;
      // Another process of this service may have noted it; to look takes no lock.
      const noted = (await readCopyState(db, name, feed.source)).inSyncAt;
      if (noted !== null && inSyncAt - noted < sinceMs) {
        this.#notedInSyncAt = noted;
        return;
      }
    }
    await db.transaction().execute(async (transaction) => {
      const stored = await lockPosition(transaction, name, feed.source);
      // Somebody put it back.
      if (stored < this.#stored) return;
      if (stored < position) await storePosition(transaction, name, feed.source, position);
      if (isNewer) await storeInSyncTime(transaction, name, feed.source, inSyncAt, sinceMs);
    });
    this.#stored = Math.max(this.#stored, position);
    if (isNewer) this.#notedInSyncAt = inSyncAt;
  }

  async #recall(): Promise<void> {
    const { db, name, feed } = this.#options;
    const stored = await readCopyState(db, name, feed.source);
    this.#stored = stored.position;
    this.#state.recall(stored);
    if (stored.everInSync) this.#inSyncOnce();
  }

  async #loadPosition(): Promise<void> {
    const { db, name, feed } = this.#options;
    try {
      if (!this.#state.recalled) await this.#recall();
      const { position: stored } = await readCopyState(db, name, feed.source);
      // What we passed over since needs not be read again, unless the position was put back.
      if (stored < this.#stored || stored > this.#state.position) this.#state.moveTo(stored);
      this.#stored = stored;
      if (!this.#commitFails) this.#unapplied.worked();
    } catch (error) {
      this.#noteFault(this.#unapplied, error);
      throw error;
    }
  }
}

/** Whether the server ended a transaction because a statement took too long, or because it was idle for too long. */
function isTooLong(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === '57014' || code === '25P03';
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
        // Of the processes behind one port, the worst counts.
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
