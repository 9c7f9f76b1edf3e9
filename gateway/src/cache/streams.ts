import { performance } from 'node:perf_hooks';
import { type EventBus, SenderClock } from '@tributary/bus';
import type { InvalidationListener, Invalidations } from '@tributary/consistency';
import { Fault } from '@tributary/server';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { Counter, Gauge, type Registry } from 'prom-client';

/** Nothing was heard of a source for so long: what is cached of it is not to be trusted. */
const DISTRUST_AFTER_MS = 1500;
/** How many entities are remembered as touched; beyond, whatever was read before the oldest of them is distrusted. */
const MAX_TOUCHED = 200_000;
const LOOK_MS = 1000;
/** A source that is silent for less than this is not reported. */
const FAULT_PATIENCE_MS = 3000;

/** Receives the events of a stream that do not decide whether something that was read is current. */
export interface StreamObserver {
  /** The personal data of these entities was erased. */
  onErased(entities: readonly string[]): void;
  /** A source is heard of for the first time; what it did up to this position was not heard of. */
  onBeginning(source: string, position: number): void;
  /** What a source did may have been missed, up to this position. */
  onGap(source: string, position: number): void;
}

/** A source that must be heard of, and was not yet. */
interface Silence {
  /** By `performance.now()`. */
  readonly since: number;
  readonly distrusted: Fault;
}

interface Stream {
  /** The last position that was heard of. */
  position: number;
  /** What was read before this position may have changed without our knowing. */
  floor: number;
  /** Up to this time, by `performance.now()`, everything that the source had committed is known here; -Infinity while that is not known of any time. */
  levelAt: number;
  /** When the last message came, by `performance.now()`. */
  heardAt: number;
  /** Of which time the last message said so; -Infinity when it said so of none. */
  saidOf: number;
  /** The term of the source's relay that was last heard of; 0 before one was. */
  term: number;
  clock: SenderClock;
  /** Nothing of it is cached. */
  readonly distrusted: Fault;
}

/** From which state something was read: a position for each source. */
export type Positions = readonly (readonly [source: string, position: number])[];

/** Something that was read. */
interface Read {
  /** The service that said it. */
  readonly owner: string;
  readonly positions: Positions;
  /** `Type:id`, or `*Type`: what any of these services may have changed. */
  readonly entities: readonly string[];
  /** What only the owner may have changed. */
  readonly owned: readonly string[];
}

/**
 * What changed in the services, as far as it was heard. It decides whether something that was read, from a known state, may have
 * changed since: an entity was touched by an event after that state, or events were missed.
 */
export class Streams implements InvalidationListener {
  readonly #streams = new Map<string, Stream>();
  readonly #silent = new Map<string, Silence>();
  /** `source Type:id`, and `source *Type` for any of a type: the last position that touched it. The oldest go first. */
  readonly #touched = new LRUCache<string, number>({
    max: MAX_TOUCHED,
    dispose: (position, key, reason) => {
      if (reason === 'evict') this.#forget(key, position);
    },
  });
  #epoch = 0;
  readonly #invalidations: Counter<'source'>;
  readonly #gaps: Counter<'source'>;
  readonly #waiting = new Set<() => void>();
  readonly #logger: Logger;
  #observer: StreamObserver | null = null;
  #stops: (() => void)[] = [];
  #looks: NodeJS.Timeout | undefined;

  constructor(metrics: Registry, logger: Logger) {
    this.#logger = logger;
    const labelNames = ['source'] as const;
    this.#invalidations = new Counter({
      name: 'gateway_cache_invalidations_total',
      help: 'Entities that an event touched',
      labelNames,
      registers: [metrics],
    });
    this.#gaps = new Counter({
      name: 'gateway_cache_gaps_total',
      help: 'Times that events of a source were missed, and what was cached of it forgotten',
      labelNames,
      registers: [metrics],
    });
    const streams = this.#streams;
    const silent = this.#silent;
    new Gauge({
      name: 'gateway_cache_source_age_seconds',
      help: 'How long ago a source was last heard of, or first answered without being heard of; what is cached of it is not served beyond 1.5',
      labelNames,
      registers: [metrics],
      aggregator: 'max',
      collect() {
        for (const [source, { levelAt }] of streams)
          if (Number.isFinite(levelAt)) this.set({ source }, (performance.now() - levelAt) / 1000);
        for (const [source, { since }] of silent) this.set({ source }, (performance.now() - since) / 1000);
      },
    });
  }

  /** Tells somebody what is heard from now on. */
  observe(observer: StreamObserver): void {
    this.#observer = observer;
  }

  async listen(bus: EventBus, sources: readonly string[]): Promise<void> {
    this.#looks = setInterval(() => this.#look(), LOOK_MS).unref();
    this.#stops = await Promise.all(sources.map((source) => bus.subscribeToInvalidations(source, this)));
  }

  /** A source that says from which state it answers is one that announces what changes. */
  expect(source: string): void {
    if (this.#streams.has(source) || this.#silent.has(source)) return;
    this.#silent.set(source, { since: performance.now(), distrusted: this.#faultOf(source) });
  }

  /** By how much a source's clock is ahead of this process's clock; see SenderClock. */
  clockOffsetMs(source: string): number | null {
    return this.#streams.get(source)?.clock.offsetMs ?? null;
  }

  stop(): void {
    clearInterval(this.#looks);
    for (const { distrusted } of [...this.#streams.values(), ...this.#silent.values()]) distrusted.stop();
    for (const stop of this.#stops) stop();
    for (const wake of this.#waiting) wake();
  }

  onInvalidations(source: string, { from, to, at, term = 0, touched }: Invalidations): void {
    const stream = this.#streams.get(source);
    const isGap = stream !== undefined && from > stream.position;
    if (!stream) this.#begin(source, to);
    else if (isGap) {
      stream.floor = to;
      this.#gaps.inc({ source });
    }
    this.#note(source, to, at, term);
    // A gap may hide changes: what was begun before it is not for whoever asks after it.
    if (touched.length > 0 || isGap) this.#epoch += 1;
    for (const { position, entities } of touched) {
      for (const entity of entities) {
        this.#touch(source, entity, position);
        this.#touch(source, `*${entity.slice(0, entity.indexOf(':'))}`, position);
      }
      this.#invalidations.inc({ source }, entities.length);
    }
    // Only now: from here on nothing that was read before is kept.
    for (const { entities, erased } of touched) if (erased) this.#observer?.onErased(entities);
    if (!stream) this.#observer?.onBeginning(source, to);
    else if (isGap) this.#observer?.onGap(source, to);
    for (const wake of this.#waiting) wake();
  }

  #note(source: string, to: number, at: number, term: number): void {
    const stream = this.#streams.get(source) as Stream;
    stream.position = Math.max(stream.position, to);
    stream.heardAt = performance.now();
    if (term !== 0 && term !== stream.term) {
      // A new leader's clock may be another one, or the same after it was set right.
      stream.clock = new SenderClock();
      stream.term = term;
    }
    stream.saidOf = at > 0 ? stream.clock.toLocal(at) : Number.NEGATIVE_INFINITY;
    stream.levelAt = Math.max(stream.levelAt, stream.saidOf);
  }

  #begin(source: string, to: number): void {
    const distrusted = this.#silent.get(source)?.distrusted ?? this.#faultOf(source);
    this.#silent.delete(source);
    // What was read before we listened may have changed before we listened.
    this.#streams.set(source, {
      position: to,
      floor: to,
      levelAt: Number.NEGATIVE_INFINITY,
      heardAt: performance.now(),
      saidOf: Number.NEGATIVE_INFINITY,
      term: 0,
      clock: new SenderClock(),
      distrusted,
    });
  }

  #faultOf(source: string): Fault {
    return new Fault({
      logger: this.#logger,
      began: 'nothing of a source is served from the cache, or kept',
      ended: 'what is read of the source is cached again',
      details: { source },
      patienceMs: FAULT_PATIENCE_MS,
    });
  }

  /** Why nothing of a source is cached; null when it is, or when the source is none that has to be heard of. */
  problem(source: string): string | null {
    return (this.#streams.get(source) ?? this.#silent.get(source))?.distrusted.cause ?? null;
  }

  /** Which sources are heard of as they should be. */
  #look(): void {
    const now = performance.now();
    for (const { distrusted } of this.#silent.values()) {
      distrusted.failed('never heard of since this gateway started: nothing of it is cached');
    }
    for (const { levelAt, heardAt, saidOf, distrusted } of this.#streams.values()) {
      const seconds = (since: number) => Math.round((now - since) / 1000);
      if (now - levelAt <= DISTRUST_AFTER_MS) distrusted.worked();
      else if (now - heardAt > DISTRUST_AFTER_MS)
        distrusted.failed(`not heard of for ${seconds(heardAt)} s: nothing of it is cached`);
      else if (!Number.isFinite(saidOf))
        distrusted.failed('its relay has not seen the end of its outbox yet: nothing of it is cached');
      else
        distrusted.failed(`its messages are ${seconds(saidOf)} s old (is its clock behind?): nothing of it is cached`);
    }
  }

  /** The last position of each source that was heard of. */
  positions(): Positions {
    return [...this.#streams].map(([source, { position }]) => [source, position]);
  }

  /** A service told of its own changes beside the stream, with an answer. What would leave a gap has to come by the stream. */
  hearBeside(source: string, invalidations: Invalidations): void {
    const stream = this.#streams.get(source);
    if (stream && invalidations.from <= stream.position && invalidations.to > stream.position)
      this.onInvalidations(source, invalidations);
  }

  /** Whether what was read from some state is what would be read now. */
  isCurrent({ owner, positions, entities, owned }: Read): boolean {
    for (const [source, position] of positions) {
      if (!this.#streams.has(source)) return false;
      if (this.isTouchedSince(source, position, entities)) return false;
      if (source === owner && this.isTouchedSince(source, position, owned)) return false;
    }
    return positions.length > 0;
  }

  /** Whether an event of a source after a position touched one of the entities, or may have without our hearing of it. */
  isTouchedSince(source: string, position: number, entities: readonly string[]): boolean {
    if (position < (this.#streams.get(source)?.floor ?? 0)) return true;
    return entities.some((entity) => (this.#touched.peek(`${source} ${entity}`) ?? 0) > position);
  }

  /** How long ago, at most, what is current by our knowledge was really so; infinite when it cannot be told. */
  ageMs(positions: Positions): number {
    let age = 0;
    for (const [source] of positions) {
      const stream = this.#streams.get(source);
      age = Math.max(age, stream ? performance.now() - stream.levelAt : Number.POSITIVE_INFINITY);
    }
    return age > DISTRUST_AFTER_MS ? Number.POSITIVE_INFINITY : age;
  }

  /** Grows with whatever is heard of: what was begun in the same epoch does not miss anything that was heard of before. */
  get epoch(): number {
    return this.#epoch;
  }

  /** The last position of a source that was heard of; 0 when there is none. */
  position(source: string): number {
    return this.#streams.get(source)?.position ?? 0;
  }

  /** Resolves when so much was heard, or after a while. */
  async reach(wanted: ReadonlyMap<string, number>, patienceMs: number): Promise<void> {
    const isBehind = () => [...wanted].some(([source, position]) => this.position(source) < position);
    const until = performance.now() + patienceMs;
    while (isBehind()) {
      const left = until - performance.now();
      if (left <= 0) return;
      await new Promise<void>((resolve) => {
        const wake = () => {
          clearTimeout(timer);
          this.#waiting.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, left);
        this.#waiting.add(wake);
      });
    }
  }

  /** Messages may come in another order than the changes: the last position never goes back. */
  #touch(source: string, entity: string, position: number): void {
    const key = `${source} ${entity}`;
    this.#touched.set(key, Math.max(position, this.#touched.peek(key) ?? 0));
  }

  #forget(key: string, position: number): void {
    const stream = this.#streams.get(key.slice(0, key.indexOf(' ')));
    if (stream) stream.floor = Math.max(stream.floor, position);
  }
}
