import { setTimeout as sleep } from 'node:timers/promises';
import type { LedgerEvent } from './event.js';
import type { EventBus, EventListener, LedgerHead } from './event-bus.js';
import type { Touches, TouchListener } from './touches.js';

const RETRY_MS = 100;
/** The most events that wait for one listener; beyond, it reads them from the ledger. */
const MAX_WAITING = 10_000;

/** Events between services that run in one process. What it holds ends with the process; the ledgers do not. */
export class InProcessBus implements EventBus {
  readonly #subscriptions = new Map<string, Set<Subscription>>();
  readonly #listeners = new Map<string, Set<TouchListener>>();
  #closed = false;

  async publish(source: string, events: readonly LedgerEvent[]): Promise<void> {
    for (const subscription of this.#of(source)) subscription.deliver(events);
  }

  announce(source: string, head: LedgerHead): void {
    for (const { listener } of this.#of(source)) listener.onHead(head);
  }

  async forget(): Promise<void> {
    // Nothing is kept beyond its delivery.
  }

  async subscribe(source: string, _consumer: string, listener: EventListener): Promise<() => Promise<void>> {
    const subscription = new Subscription(listener);
    const subscriptions = this.#subscriptions.get(source) ?? new Set();
    this.#subscriptions.set(source, subscriptions.add(subscription));
    return async () => {
      subscriptions.delete(subscription);
      await subscription.stop();
    };
  }

  tell(source: string, touches: Touches): void {
    for (const listener of this.#listeners.get(source) ?? []) listener.onTouches(source, touches);
  }

  async listen(source: string, listener: TouchListener): Promise<() => void> {
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
  #waiting: LedgerEvent[] = [];
  #running: Promise<void> | null = null;
  #stopped = false;

  constructor(listener: EventListener) {
    this.listener = listener;
  }

  deliver(events: readonly LedgerEvent[]): void {
    if (this.#stopped) return;
    this.#waiting = [...this.#waiting, ...events].slice(-MAX_WAITING);
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0 && !this.#stopped) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.listener.onEvents(batch);
      } catch {
        this.#waiting = [...batch, ...this.#waiting].slice(-MAX_WAITING);
        await sleep(RETRY_MS);
      }
    }
    this.#running = null;
  }
}
