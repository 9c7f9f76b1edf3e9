import { type EventBus, SenderClock } from '@tributary/bus';
import type { InvalidationListener, Invalidations } from '@tributary/consistency';
import { Fault, type Time, type Timer } from '@tributary/server';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Dependencies, Positions } from './cache-entry.js';

/** Longest time without a message from a source: beyond, its cached data is not served. */
const MAX_SILENCE_MS = 1500;
/** Invalidated entities that are remembered; when the oldest is dropped, data that was read before it counts as stale. */
const MAX_INVALIDATED = 200_000;
const CHECK_MS = 1000;
/** A source that is silent for less than this is not reported. */
const FAULT_PATIENCE_MS = 3000;

/** Receives what else happens in the log than invalidations. */
export interface InvalidationObserver {
  /** The personal data of these entities was erased. */
  onErased(entities: readonly string[]): void;
  /** The first message of a source arrived; events up to this position were missed. */
  onFirstMessage(source: string, position: number): void;
  /** Events of a source up to this position may have been missed. */
  onGap(source: string, position: number): void;
}

/** A source without a message yet. */
interface SilentSource {
  /** By the monotonic clock. */
  readonly since: number;
  readonly fault: Fault;
}

/** A source of events, as far as its messages have arrived. Times are readings of the monotonic clock. */
interface SourceState {
  /** The position of the last event that is applied. */
  position: number;
  /** Data that was read before this position may have changed unnoticed. */
  lowWatermark: number;
  /** Every event that was committed before this time is applied; -Infinity while there is no such time. */
  inSyncAt: number;
  /** When the last message arrived. */
  receivedAt: number;
  /** The time that the last message vouches for; -Infinity when it does for none. */
  reportedAt: number;
  /** The term of the source's relay in the last message; 0 before there was one. */
  term: number;
  clock: SenderClock;
  /** Nothing of it is cached. */
  readonly fault: Fault;
}

/**
 * The changes of all services, as far as their messages have arrived. It decides whether data that was read at some positions may have
 * changed since: an event after them changed one of its entities, or events were missed.
 */
export class InvalidationLog implements InvalidationListener {
  readonly #sources = new Map<string, SourceState>();
  readonly #silent = new Map<string, SilentSource>();
  /** `source Type:id`, and `source *Type` for any of a type: the position of the last event that changed it. The oldest are dropped first. */
  readonly #invalidated = new LRUCache<string, number>({
    max: MAX_INVALIDATED,
    dispose: (position, key, reason) => {
      if (reason === 'evict') this.#forget(key, position);
    },
  });
  #epoch = 0;
  readonly #invalidations: Counter<'source'>;
  readonly #gaps: Counter<'source'>;
  readonly #waiters = new Set<() => void>();
  readonly #logger: Logger;
  readonly #time: Time;
  #observer: InvalidationObserver | null = null;
  #stops: (() => void)[] = [];
  #check: Timer | undefined;

  constructor(metrics: Registry, logger: Logger, time: Time) {
    this.#logger = logger;
    this.#time = time;
    const labelNames = ['source'] as const;
    this.#invalidations = new Counter({
      name: 'gateway_cache_invalidations_total',
      help: 'Entities that events invalidated',
      labelNames,
      registers: [metrics],
    });
    this.#gaps = new Counter({
      name: 'gateway_cache_gaps_total',
      help: 'Times that events of a source were missed, which made its cached data stale',
      labelNames,
      registers: [metrics],
    });
    const sources = this.#sources;
    const silent = this.#silent;
    new Gauge({
      name: 'gateway_cache_source_age_seconds',
      help: 'Time since the cache was last in sync with a source, or since the source first responded without any message; beyond 1.5 its cached data is not served',
      labelNames,
      registers: [metrics],
      aggregator: 'max',
      collect() {
        const now = time.monotonic();
        for (const [source, { inSyncAt }] of sources)
          if (Number.isFinite(inSyncAt)) this.set({ source }, (now - inSyncAt) / 1000);
        for (const [source, { since }] of silent) this.set({ source }, (now - since) / 1000);
      },
    });
  }

  /** Sets the observer of what arrives from now on. */
  observe(observer: InvalidationObserver): void {
    this.#observer = observer;
  }

  /** Subscribes to the invalidations of sources. */
  async subscribe(bus: EventBus, sources: readonly string[]): Promise<void> {
    this.#checkLater();
    this.#stops = await Promise.all(sources.map((source) => bus.subscribeToInvalidations(source, this)));
  }

  /** Notes that a source reports positions: it also sends invalidations, so that its silence is a fault. */
  expectSource(source: string): void {
    if (this.#sources.has(source) || this.#silent.has(source)) return;
    this.#silent.set(source, { since: this.#time.monotonic(), fault: this.#faultOf(source) });
  }

  /** How much a source's clock is ahead of this process's clock; see SenderClock. */
  clockOffsetMs(source: string): number | null {
    return this.#sources.get(source)?.clock.offsetMs ?? null;
  }

  stop(): void {
    this.#check?.clear();
    for (const { fault } of [...this.#sources.values(), ...this.#silent.values()]) fault.stop();
    for (const stop of this.#stops) stop();
    for (const wake of this.#waiters) wake();
  }

  onInvalidations(source: string, { from, to, at, term = 0, touched }: Invalidations): void {
    const state = this.#sources.get(source);
    const isGap = state !== undefined && from > state.position;
    if (!state) this.#begin(source, to);
    else if (isGap) {
      state.lowWatermark = to;
      this.#gaps.inc({ source });
    }
    this.#note(source, to, at, term);
    // A gap may hide changes: a response that was begun before it must not be shared with later requests.
    if (touched.length > 0 || isGap) this.#epoch += 1;
    for (const { position, entities } of touched) {
      for (const entity of entities) {
        this.#invalidate(source, entity, position);
        this.#invalidate(source, `*${entity.slice(0, entity.indexOf(':'))}`, position);
      }
      this.#invalidations.inc({ source }, entities.length);
    }
    // After the loop above: from here on, nothing that was read before is stored.
    for (const { entities, erased } of touched) if (erased) this.#observer?.onErased(entities);
    if (!state) this.#observer?.onFirstMessage(source, to);
    else if (isGap) this.#observer?.onGap(source, to);
    for (const wake of this.#waiters) wake();
  }

  #note(source: string, to: number, at: number, term: number): void {
    const state = this.#sources.get(source) as SourceState;
    state.position = Math.max(state.position, to);
    state.receivedAt = this.#time.monotonic();
    if (term !== 0 && term !== state.term) {
      // A new leader may have another clock, or the same one after it was corrected.
      state.clock = new SenderClock(this.#time);
      state.term = term;
    }
    state.reportedAt = at > 0 ? state.clock.toLocal(at) : Number.NEGATIVE_INFINITY;
    state.inSyncAt = Math.max(state.inSyncAt, state.reportedAt);
  }

  #begin(source: string, to: number): void {
    const fault = this.#silent.get(source)?.fault ?? this.#faultOf(source);
    this.#silent.delete(source);
    // Data that was read before the subscription may have changed before it.
    this.#sources.set(source, {
      position: to,
      lowWatermark: to,
      inSyncAt: Number.NEGATIVE_INFINITY,
      receivedAt: this.#time.monotonic(),
      reportedAt: Number.NEGATIVE_INFINITY,
      term: 0,
      clock: new SenderClock(this.#time),
      fault,
    });
  }

  #faultOf(source: string): Fault {
    return new Fault({
      logger: this.#logger,
      began: 'nothing of a source is served from the cache, or kept',
      ended: 'what is read of the source is cached again',
      time: this.#time,
      details: { source },
      patienceMs: FAULT_PATIENCE_MS,
    });
  }

  /** Why nothing of a source is cached; null when it is, or when the source reports no positions. */
  problem(source: string): string | null {
    return (this.#sources.get(source) ?? this.#silent.get(source))?.fault.cause ?? null;
  }

  #checkLater(): void {
    const check = () => {
      this.#checkLater();
      this.#checkSources();
    };
    this.#check = this.#time.setTimeout(check, CHECK_MS, { unref: true });
  }

  /** Reports the sources whose messages are missing or late. */
  #checkSources(): void {
    const now = this.#time.monotonic();
    for (const { fault } of this.#silent.values()) {
      fault.failed('no message since this gateway started: nothing of it is cached');
    }
    for (const { inSyncAt, receivedAt, reportedAt, fault } of this.#sources.values()) {
      const seconds = (since: number) => Math.round((now - since) / 1000);
      if (now - inSyncAt <= MAX_SILENCE_MS) fault.worked();
      else if (now - receivedAt > MAX_SILENCE_MS)
        fault.failed(`no message for ${seconds(receivedAt)} s: nothing of it is cached`);
      else if (!Number.isFinite(reportedAt))
        fault.failed('its relay has not seen the end of its outbox yet: nothing of it is cached');
      else
        fault.failed(`its messages are ${seconds(reportedAt)} s old (is its clock behind?): nothing of it is cached`);
    }
  }

  /** The position of the last applied event of each source. */
  positions(): Positions {
    return [...this.#sources].map(([source, { position }]) => [source, position]);
  }

  /** Applies invalidations that came with a mutation's result, before the bus delivers them. Ignored if they would leave a gap. */
  applyOutOfBand(source: string, invalidations: Invalidations): void {
    const state = this.#sources.get(source);
    if (state && invalidations.from <= state.position && invalidations.to > state.position)
      this.onInvalidations(source, invalidations);
  }

  /** Whether data is what would be read now, as far as the log goes. */
  isCurrent({ owner, positions, entities, owned }: Dependencies): boolean {
    for (const [source, position] of positions) {
      if (!this.#sources.has(source)) return false;
      if (this.isInvalidatedSince(source, position, entities)) return false;
      if (source === owner && this.isInvalidatedSince(source, position, owned)) return false;
    }
    return positions.length > 0;
  }

  /** Whether an event of a source after a position changed one of the entities, or may have unnoticed. */
  isInvalidatedSince(source: string, position: number, entities: readonly string[]): boolean {
    if (position < (this.#sources.get(source)?.lowWatermark ?? 0)) return true;
    return entities.some((entity) => (this.#invalidated.peek(`${source} ${entity}`) ?? 0) > position);
  }

  /** The age of data that is current as far as the log goes: the time since it was in sync with these sources; infinite when too long ago. */
  ageMs(positions: Positions): number {
    let age = 0;
    for (const [source] of positions) {
      const state = this.#sources.get(source);
      age = Math.max(age, state ? this.#time.monotonic() - state.inSyncAt : Number.POSITIVE_INFINITY);
    }
    return age > MAX_SILENCE_MS ? Number.POSITIVE_INFINITY : age;
  }

  /** Grows with every invalidation: a response that was begun in the present epoch misses none of them. */
  get epoch(): number {
    return this.#epoch;
  }

  /** The position of the last applied event of a source; 0 when there is none. */
  position(source: string): number {
    return this.#sources.get(source)?.position ?? 0;
  }

  /** Resolves when the log has reached these positions, or after `patienceMs`. */
  async waitFor(positions: ReadonlyMap<string, number>, patienceMs: number): Promise<void> {
    const isBehind = () => [...positions].some(([source, position]) => this.position(source) < position);
    const until = this.#time.monotonic() + patienceMs;
    while (isBehind()) {
      const left = until - this.#time.monotonic();
      if (left <= 0) return;
      await new Promise<void>((resolve) => {
        const wake = () => {
          timer.clear();
          this.#waiters.delete(wake);
          resolve();
        };
        const timer = this.#time.setTimeout(wake, left);
        this.#waiters.add(wake);
      });
    }
  }

  /** Notes that an event changed an entity. Messages may arrive in another order than the events: the position never decreases. */
  #invalidate(source: string, entity: string, position: number): void {
    const key = `${source} ${entity}`;
    this.#invalidated.set(key, Math.max(position, this.#invalidated.peek(key) ?? 0));
  }

  #forget(key: string, position: number): void {
    const state = this.#sources.get(key.slice(0, key.indexOf(' ')));
    if (state) state.lowWatermark = Math.max(state.lowWatermark, position);
  }
}
