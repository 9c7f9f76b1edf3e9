import type { EventBus, EventListener, InProcessBus, LedgerHead } from '@tributary/bus';
import type { Touches, TouchListener } from '@tributary/consistency';

/** Between a sender and a receiver: what is announced takes a while, and comes with the time of the sender's clock. */
export interface Link {
  /** By how much the senders' clocks are ahead of the receiver's, in milliseconds. */
  aheadMs: number;
  /** How long heads and invalidations take, in milliseconds. */
  delayMs: number;
}

/** One process's connection to a bus within this process, whose heads and invalidations a test can delay, hold and let go one by one. */
export class ControlledBus implements EventBus {
  readonly #bus: InProcessBus;
  readonly link: Link = { aheadMs: 0, delayMs: 0 };
  #held: { readonly touches: Touches; readonly hear: () => void }[] | null = null;

  constructor(bus: InProcessBus) {
    this.#bus = bus;
  }

  /** From now on no invalidation is heard here until it is let go. */
  hold(): void {
    this.#held ??= [];
  }

  /** Lets the next held message be heard. @returns what it was, if there was one */
  letGo(): Touches | undefined {
    const next = this.#held?.shift();
    next?.hear();
    return next?.touches;
  }

  /** Loses what is held. @returns what it was */
  lose(): readonly Touches[] {
    return (this.#held?.splice(0) ?? []).map(({ touches }) => touches);
  }

  /** Lets what is held be heard, and holds nothing more. */
  resume(): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const { hear } of held) hear();
  }

  publish: EventBus['publish'] = (source, events) => this.#bus.publish(source, events);
  announce = (...parameters: Parameters<EventBus['announce']>) => this.#bus.announce(...parameters);
  forget = (...parameters: Parameters<EventBus['forget']>) => this.#bus.forget(...parameters);
  tell = (...parameters: Parameters<EventBus['tell']>) => this.#bus.tell(...parameters);
  connected = () => this.#bus.connected();
  problem = () => this.#bus.problem();

  subscribe(source: string, consumer: string, { onEvents, onHead }: EventListener): Promise<() => Promise<void>> {
    return this.#bus.subscribe(source, consumer, {
      onEvents,
      onHead: (head) => this.#carry<LedgerHead>(head, onHead),
    });
  }

  listen(source: string, listener: TouchListener): Promise<() => void> {
    return this.#bus.listen(source, {
      onTouches: (_source, touches) =>
        this.#carry<Touches>(touches, (late) => {
          const hear = () => listener.onTouches(source, late);
          if (this.#held) this.#held.push({ touches, hear });
          else hear();
        }),
    });
  }

  /** The bus itself is closed by who made it. */
  async close(): Promise<void> {
    this.#held = null;
  }

  #carry<T extends { readonly at: number }>(message: T, deliver: (message: T) => void): void {
    const { aheadMs, delayMs } = this.link;
    const late = { ...message, at: message.at > 0 ? message.at + aheadMs : 0 };
    if (delayMs === 0) deliver(late);
    else setTimeout(() => deliver(late), delayMs);
  }
}
