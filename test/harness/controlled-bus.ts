import type { EndPosition, EventBus, EventListener, InProcessBus } from '@tributary/bus';
import type { InvalidationListener, Invalidations } from '@tributary/consistency';

/** Between a sender and a receiver: what is announced takes a while, and comes with the time of the sender's clock. */
export interface Link {
  /** By how much the senders' clocks are ahead of the receiver's, in milliseconds. */
  aheadMs: number;
  /** How long end positions and invalidations take, in milliseconds. */
  delayMs: number;
}

/** One process's connection to a bus within this process, whose end positions and invalidations a test can delay, hold and let go one by one. */
export class ControlledBus implements EventBus {
  readonly #bus: InProcessBus;
  readonly link: Link = { aheadMs: 0, delayMs: 0 };
  #held: { readonly invalidations: Invalidations; readonly deliver: () => void }[] | null = null;

  constructor(bus: InProcessBus) {
    this.#bus = bus;
  }

  /** From now on no invalidation is delivered here until it is released. */
  hold(): void {
    this.#held ??= [];
  }

  /** Delivers the next held message. @returns the message, if there was one */
  letGo(): Invalidations | undefined {
    const next = this.#held?.shift();
    next?.deliver();
    return next?.invalidations;
  }

  /** Drops the held messages. @returns them */
  lose(): readonly Invalidations[] {
    return (this.#held?.splice(0) ?? []).map(({ invalidations }) => invalidations);
  }

  /** Delivers what is held, and holds nothing more. */
  resume(): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const { deliver } of held) deliver();
  }

  publish: EventBus['publish'] = (source, events) => this.#bus.publish(source, events);
  announce = (...parameters: Parameters<EventBus['announce']>) => this.#bus.announce(...parameters);
  forget = (...parameters: Parameters<EventBus['forget']>) => this.#bus.forget(...parameters);
  publishInvalidations = (...parameters: Parameters<EventBus['publishInvalidations']>) =>
    this.#bus.publishInvalidations(...parameters);
  connected = () => this.#bus.connected();
  problem = () => this.#bus.problem();

  subscribe(
    source: string,
    consumer: string,
    { onEvents, onEndPosition }: EventListener,
  ): Promise<() => Promise<void>> {
    return this.#bus.subscribe(source, consumer, {
      onEvents,
      onEndPosition: (end) => this.#carry<EndPosition>(end, onEndPosition),
    });
  }

  subscribeToInvalidations(source: string, listener: InvalidationListener): Promise<() => void> {
    return this.#bus.subscribeToInvalidations(source, {
      onInvalidations: (_source, invalidations) =>
        this.#carry<Invalidations>(invalidations, (late) => {
          const deliver = () => listener.onInvalidations(source, late);
          if (this.#held) this.#held.push({ invalidations, deliver });
          else deliver();
        }),
    });
  }

  /** Leaves the bus open: its creator closes it. */
  async close(): Promise<void> {
    this.#held = null;
  }

  #carry<T extends { readonly at: number }>(message: T, onMessage: (message: T) => void): void {
    const { aheadMs, delayMs } = this.link;
    const late = { ...message, at: message.at > 0 ? message.at + aheadMs : 0 };
    if (delayMs === 0) onMessage(late);
    else setTimeout(() => onMessage(late), delayMs);
  }
}
