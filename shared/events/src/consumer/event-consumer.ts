import type { EndPosition, EventBus, LoggedEvent } from '@tributary/bus';
import { settledWithin, systemTime, type Time, Turns } from '@tributary/server';
import type { Logger } from 'pino';
import { BatchApplier } from './batch-applier.js';
import { ConsumerFaults } from './consumer-faults.js';
import type { ConsumerMetrics } from './consumer-metrics.js';
import { ConsumerProgress } from './consumer-progress.js';
import type { ConsumerStore } from './consumer-store.js';
import { CopyState, type Freshness } from './copy-state.js';
import { EventLogReader } from './event-log-reader.js';
import type { EventSubscription } from './event-subscription.js';
import { GapDetector } from './gap-detector.js';
import { PositionReporter } from './position-reporter.js';

/** How often the event log is read until the copy is in sync for the first time: the start waits for it. */
const FIRST_POLLS_MS = 50;
/** The longest pause after reading the event log failed. */
const MAX_RETRY_MS = 1000;
/** A copy that was last in sync longer ago than this plus a polling interval is late. */
const LATE_MS = 5000;
const MAX_POLL_COUNTED_MS = 30_000;
/** How long `recall` waits for the database. */
const RECALL_MS = 2000;
/** How long `stop` waits for a running transaction. */
const STOP_MS = 800;

export interface ConsumerOptions<Tables> {
  /** Stays the same from run to run: the position is stored under it. */
  readonly name: string;
  readonly subscription: EventSubscription<Tables>;
  readonly store: ConsumerStore<Tables>;
  readonly bus: EventBus;
  /** How often the event log is read, in case the bus delivers nothing. */
  readonly pollIntervalMs: number;
  readonly logger: Logger;
  readonly metrics: ConsumerMetrics;
  /** The system's time by default. */
  readonly time?: Time;
}

/**
 * Applies the events of one source, each exactly once and in order: the effect and the position are committed together.
 *
 * Events usually arrive over the bus. Duplicates are skipped; what is missing is read from the owner's event log.
 */
export class EventConsumer<Tables> {
  readonly #options: ConsumerOptions<Tables>;
  readonly #time: Time;
  readonly #stopped = new AbortController();
  readonly #state: CopyState;
  readonly #faults: ConsumerFaults;
  readonly #progress: ConsumerProgress<Tables>;
  readonly #applier: BatchApplier<Tables>;
  readonly #reader: EventLogReader<Tables>;
  readonly #gaps: GapDetector;
  readonly #reporter: PositionReporter;
  #reachedEnd = false;
  #noting = false;
  /** Work on the position, one after the other. */
  readonly #database = new Turns();
  /** Reading of the event log, one after the other. */
  readonly #log = new Turns();
  #busSubscription: Promise<() => Promise<void>> = Promise.resolve(async () => undefined);
  #polling: Promise<void> = Promise.resolve();
  #caughtUp: () => void = () => undefined;
  #inSyncOnce: () => void = () => undefined;
  /** Resolves when the consumer has first reached the end of the event log. */
  readonly caughtUp: Promise<void>;
  /** Resolves when the copy was in sync with its owner once, in this process or in an earlier one. */
  readonly inSyncOnce: Promise<void>;

  constructor(options: ConsumerOptions<Tables>) {
    this.#options = options;
    const { name: consumer, subscription, store, logger, metrics, time = systemTime } = options;
    const { signal } = this.#stopped;
    this.#time = time;
    const state = new CopyState(time);
    const faults = new ConsumerFaults(subscription.source, logger, signal, time);
    const progress = new ConsumerProgress<Tables>({
      store,
      state,
      faults,
      signal,
      onRecalled: ({ everInSync }) => everInSync && this.#inSyncOnce(),
    });
    const database = this.#database;
    const applier = new BatchApplier<Tables>({
      deadLetters: store.deadLetters,
      subscription,
      state,
      progress,
      faults,
      database,
      logger,
      signal,
    });
    this.#state = state;
    this.#faults = faults;
    this.#progress = progress;
    this.#applier = applier;
    this.#reader = new EventLogReader<Tables>({
      subscription,
      state,
      progress,
      applier,
      faults,
      database,
      logger,
      clock: time,
      signal,
    });
    this.#gaps = new GapDetector({
      state,
      time,
      signal,
      loadPosition: () => database.take(() => progress.load()),
      readEventLog: () => this.#readLog(Number.POSITIVE_INFINITY),
    });
    this.#reporter = new PositionReporter({ consumer, eventLog: subscription.eventLog, faults, clock: time, signal });
    this.caughtUp = new Promise((resolve) => {
      this.#caughtUp = resolve;
    });
    this.inSyncOnce = new Promise((resolve) => {
      this.#inSyncOnce = resolve;
    });
    metrics.track(subscription.source, () => this.freshness);
  }

  get freshness(): Freshness {
    return this.#state.freshness(this.#problem());
  }

  /** By how much the owner's clock is ahead of this process's clock; see SenderClock. */
  get ownerClockOffsetMs(): number | null {
    return this.#state.ownerClockOffsetMs;
  }

  /**
   * Reads the position and the in-sync time that an earlier process stored. Gives up after two seconds; then the copy counts as never
   * in sync until the database answers.
   */
  async recall(): Promise<void> {
    await settledWithin(RECALL_MS, [this.#database.take(() => this.#progress.recall())], this.#time);
  }

  /** Starts to apply events. */
  async start(): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    const { bus, subscription, name } = this.#options;
    this.#busSubscription = bus.subscribe(subscription.source, name, {
      onEvents: (events) => this.#onEvents(events),
      onEndPosition: (endPosition) => this.#onEndPosition(endPosition),
    });
    this.#polling = this.#poll();
    await this.#busSubscription;
  }

  /** Resolves within a second. Work that hangs longer ends when the database's connections are closed. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    const unsubscribed = this.#busSubscription.then((unsubscribe) => unsubscribe());
    await settledWithin(STOP_MS, [unsubscribed, this.#polling, this.#log.over, this.#database.over], this.#time);
    this.#faults.stop();
  }

  #problem(): string | null {
    const { source } = this.#options.subscription;
    const { cause } = this.#faults;
    const lateMs = LATE_MS + Math.min(this.#options.pollIntervalMs, MAX_POLL_COUNTED_MS);
    const { confirmed, inSyncAt, unconfirmedMs } = this.#state;
    const late = !confirmed || inSyncAt === null || unconfirmedMs > lateMs;
    if (!late) return cause;
    return cause === null ? this.#state.describeAge(source) : `${this.#state.describeAge(source)}: ${cause}`;
  }

  #onEndPosition(endPosition: EndPosition): void {
    this.#state.onEndPosition(endPosition);
    this.#noteProgress();
    if (this.#state.position < endPosition.position) void this.#gaps.check(endPosition.position);
  }

  #noteProgress(): void {
    if (!this.#state.everInSync) return;
    this.#inSyncOnce();
    if (!this.#noting && this.#progress.hasNewInSyncTime) void this.#note();
  }

  async #note(): Promise<void> {
    this.#noting = true;
    try {
      await this.#database.take(() => this.#progress.keep());
    } catch {
      // It is stored after the next end position. The fault of applying events reports that the database cannot be reached.
    } finally {
      this.#noting = false;
    }
  }

  /** Reads the event log at intervals: at the start, when the bus is silent, and to report the position. */
  async #poll(): Promise<void> {
    const { signal } = this.#stopped;
    const { pollIntervalMs } = this.#options;
    let failures = 0;
    while (!signal.aborted) {
      try {
        if (await this.#readLog(Number.POSITIVE_INFINITY)) this.#noteEnd();
        await this.#database.take(() => this.#progress.keep());
        await this.#reporter.report(this.#progress.stored);
        failures = 0;
      } catch {
        // The fault was noted where it occurred.
        failures += 1;
      }
      const soon = Math.min(FIRST_POLLS_MS * 2 ** Math.min(failures, 10), MAX_RETRY_MS, pollIntervalMs);
      const pause = failures > 0 || !this.#reachedEnd ? soon : pollIntervalMs;
      await this.#time.sleep(pause, signal).catch(() => undefined);
    }
    // The next process begins at the stored position.
    await this.#database.take(() => this.#progress.keep(0)).catch(() => undefined);
  }

  #noteEnd(): void {
    this.#reachedEnd = true;
    // Also of a copy that is beyond the end of the log, which has no in-sync time.
    this.#state.everInSync = true;
    // Nothing is left that could not be applied.
    this.#faults.noteCommit(null);
    this.#caughtUp();
    this.#inSyncOnce();
  }

  async #onEvents(events: readonly LoggedEvent[]): Promise<void> {
    const { signal } = this.#stopped;
    const inOrder = events.toSorted((a, b) => a.position - b.position);
    let rest = inOrder.filter((event) => event.position > this.#state.position);
    while (rest[0]) {
      signal.throwIfAborted();
      const before = rest[0].position - 1;
      if (before > this.#state.position) {
        // The reader of the log will reach these events. To hold them meanwhile would only take memory.
        if (this.#reader.catchingUp) return;
        await this.#readLog(before);
        // The next process applies the rest.
        signal.throwIfAborted();
      }
      if (before > this.#state.position) {
        // Events are published after they got their position. So the owner does not have these events (any more).
        this.#reader.reportMismatch(
          'the event bus has events beyond the end of the event log; they are ignored',
          rest[0].position,
        );
        return;
      }
      await this.#applier.apply(consecutive(rest, this.#state.position + 1));
      rest = rest.filter((event) => event.position > this.#state.position);
    }
  }

  #readLog(until: number): Promise<boolean> {
    return this.#log.take(() => this.#reader.readTo(until));
  }
}

/** The events at `first`, `first + 1`, …, up to the first gap; a duplicate is dropped. */
function consecutive(events: readonly LoggedEvent[], first: number): LoggedEvent[] {
  const run: LoggedEvent[] = [];
  for (const event of events) if (event.position === first + run.length) run.push(event);
  return run;
}
