import type { InvalidationListener, Invalidations } from '@tributary/consistency';
import { systemTime, type Timers } from '@tributary/server';
import type { LoggedEvent } from './event.js';
import type { EndPosition, EventBus, EventListener } from './event-bus.js';

const RETRY_MS = 100;
/** How long the end of a subscription waits for a listener that has events in hand. */
const STOP_MS = 2000;
/** The most events that wait for one listener; beyond, it reads them from the event log. */
const MAX_WAITING = 10_000;

/** Events between services that run in one process. What it holds ends with the process; the event logs do not. */
export class InProcessBus implements EventBus {
  readonly #subscriptions = new Map<string, Set<Subscription>>();
  readonly #listeners = new Map<string, Set<InvalidationListener>>();
  readonly #timers: Timers;
  #closed = false;

  constructor({ timers = systemTime }: { readonly timers?: Timers } = {}) {
    this.#timers = timers;
  }

  async publish(source: string, events: readonly LoggedEvent[]): Promise<readonly string[]> {
    for (const subscription of this.#of(source)) subscription.deliver(events);
    return [];
  }

  announce(source: string, end: EndPosition): void {
    for (const { listener } of this.#of(source)) listener.onEndPosition(end);
  }

  async forget(source: string, aggregateType: string, aggregateId: string): Promise<void> {
    for (const subscription of this.#of(source)) subscription.forget(aggregateType, aggregateId);
  }

  async subscribe(source: string, _consumer: string, listener: EventListener): Promise<() => Promise<void>> {
    const subscription = new Subscription(listener, this.#timers);
    const subscriptions = this.#subscriptions.get(source) ?? new Set();
    this.#subscriptions.set(source, subscriptions.add(subscription));
    return async () => {
      subscriptions.delete(subscription);
      await subscription.stop();
    };
  }

  publishInvalidations(source: string, invalidations: Invalidations): void {
    for (const listener of this.#listeners.get(source) ?? []) listener.onInvalidations(source, invalidations);
  }

  async subscribeToInvalidations(source: string, listener: InvalidationListener): Promise<() => void> {
    const listeners = this.#listeners.get(source) ?? new Set();
    this.#listeners.set(source, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  connected(): boolean {
    return !this.#closed;
  }

  problem(): null {
    return null;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const all = [...this.#subscriptions.values()].flatMap((subscriptions) => [...subscriptions]);
    this.#subscriptions.clear();
    await Promise.all(all.map((subscription) => subscription.stop()));
  }

  #of(source: string): Iterable<Subscription> {
    return this.#subscriptions.get(source) ?? [];
  }
}

/** Hands a listener all that waits, again until it is taken. */
class Subscription {
  readonly listener: EventListener;
  readonly #timers: Timers;
  readonly #stopped = new AbortController();
  #waiting: LoggedEvent[] = [];
  /** What the listener has now; it waits again when the listener does not take it. */
  #inHand: LoggedEvent[] = [];
  #running: Promise<void> | null = null;

  constructor(listener: EventListener, timers: Timers) {
    this.listener = listener;
    this.#timers = timers;
  }

  deliver(events: readonly LoggedEvent[]): void {
    if (this.#stopped.signal.aborted) return;
    this.#waiting = [...this.#waiting, ...events].slice(-MAX_WAITING);
    this.#running ??= this.#run();
  }

  /** Drops what waits of an aggregate; the listener reads the gap from the event log. */
  forget(aggregateType: string, aggregateId: string): void {
    const isOther = (event: LoggedEvent) => event.aggregateType !== aggregateType || event.aggregateId !== aggregateId;
    this.#waiting = this.#waiting.filter(isOther);
    this.#inHand = this.#inHand.filter(isOther);
  }

  /** Resolves when the listener has nothing in hand any more, or does not come to an end with it. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    if (!this.#running) return;
    const patience = new AbortController();
    await Promise.race([this.#running, this.#timers.sleep(STOP_MS, patience.signal).catch(() => undefined)]);
    patience.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    while (this.#waiting.length > 0 && !signal.aborted) {
      this.#inHand = this.#waiting;
      this.#waiting = [];
      try {
        await this.listener.onEvents(this.#inHand);
      } catch {
        this.#waiting = [...this.#inHand, ...this.#waiting].slice(-MAX_WAITING);
        await this.#timers.sleep(RETRY_MS, signal).catch(() => undefined);
      }
      this.#inHand = [];
    }
    this.#running = null;
  }
}
