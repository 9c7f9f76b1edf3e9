import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EventBus, LedgerEvent, LedgerHead } from '@tributary/bus';
import type { Touch, Touches } from '@tributary/consistency';
import { addDatabaseGauge, listenToNotifications } from '@tributary/postgres';
import { causeOf, Fault, type Health, settledWithin } from '@tributary/server';
import type { Kysely } from 'kysely';
import { sql } from 'kysely';
import type { Logger } from 'pino';
import { Counter, Gauge, type Registry } from 'prom-client';
import { claimLead, releaseLead } from '../outbox/lease.js';
import { OUTBOX_CHANNEL, readEvents } from '../outbox/outbox.js';
import { deleteOldEvents } from '../outbox/retention.js';
import { readOldestUnpublishedMs } from '../outbox/unpublished-events.js';
import { type TouchedBy, touchOf } from './touch-of.js';

const BATCH = 500;
/** Heads are announced, a missed notification is made up for, and an expired lease is found, at least this often. */
const TICK_MS = 250;
/** How long after a failure the outbox is published again. */
const RETRY_MS = 500;
/** Events that wait for a shorter time are not reported. */
const PATIENCE_MS = 1000;
/** How long what was published waits until it is noted in the database. */
const MARK_MS = 100;
const RETENTION_INTERVAL_MS = 2000;
/** A declared consumer that is not known is reported after so long, or once it keeps something from being deleted. */
const RETENTION_PATIENCE_MS = 60_000;
/** So many aggregates wait at most to be purged from the bus; then publishing waits for them. */
const MAX_PURGES = 1000;
/** What a former leader sent, or an attempt that failed, may reach the bus so much later; longer than publishing waits for an answer. */
const LATE_MS = 6000;
/** When events wait for so long, no relay publishes. Longer than `LATE_MS`, for which the leader may not say that it has published. */
const UNPUBLISHED_MS = 8000;
/** An event too large for the bus is a fault for so long. */
const TOO_LARGE_MS = 10_000;
/** How long `stop` waits for what is under way, and then for the database: together less than the end of a service waits for a part. */
const STOP_MS = 600;
const RELEASE_MS = 400;

export interface RelayOptions<Tables> {
  readonly source: string;
  readonly databaseUrl: string;
  readonly db: Kysely<Tables>;
  readonly bus: EventBus;
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly health: Health;
  /** The entities of the graph that an event touches: `Type:id`. */
  readonly touchedBy: TouchedBy;
  /** How long events are kept after every known consumer has applied them, in milliseconds; 0 keeps them for ever. */
  readonly retentionMs: number;
  /** The consumers that the deployment has: nothing is deleted before each of them is known. */
  readonly consumers: readonly string[];
}

/** One term of a relay's lead. */
interface Lead {
  readonly term: number;
  /** By `performance.now()`: nobody else leads before. */
  until: number;
  /** The last position given. */
  head: number;
  /** The last position published. */
  published: number;
  /** The last position that listeners were told of. */
  told: number;
  /** Whatever was committed before `at` has a position up to `position`. */
  complete: LedgerHead;
  /** Whatever was committed before this time was told of; milliseconds since 1970. */
  toldAt: number;
  /** By `performance.now()`. */
  announcedAt: number;
  /** By `performance.now()`: what is purged before may come to the bus again, and is purged once more then. */
  settledAt: number;
  /** Aggregates whose personal data the bus may still keep, by type and id, with the event that erased it. */
  readonly purges: Map<string, LedgerEvent>;
}

/**
 * Publishes a service's outbox. Of all relays of a service one leads: the one that holds the lease in the database.
 *
 * What is committed gets the next positions when the relay first sees it, so positions have no gaps and never come late.
 * Listeners are told what it touched at once; beside that it is published in the order of positions, at least once. Neither waits for
 * the other, and what fails in one never stops the other.
 *
 * The leader counts its lease on its own monotonic clock, from before it asked for it, and looks at it before each message: after it was
 * stopped for a while it sends nothing. What was on its way then, and what a relay of an earlier release sends (it leads by an advisory
 * lock, beside this one), is harmless: events that come twice are skipped by their position, and heads and touches of an earlier term
 * are ignored. Personal
 * data that came late is purged: what is erased in the first seconds of a term is purged again when nothing can be on its way any more.
 */
export class Relay<Tables> {
  readonly #options: RelayOptions<Tables>;
  /** Readable for whoever looks into the database. */
  readonly #id = `${hostname()} ${process.pid} ${randomUUID()}`;
  readonly #stopped = new AbortController();
  readonly #waits: Fault;
  readonly #untold: Fault;
  readonly #unpurged: Fault;
  readonly #unretained: Fault;
  readonly #tooLarge: Fault;
  readonly #tooLargeEvents: Counter;
  #tooLargeUntil = 0;
  #lead: Lead | null = null;
  #wake: () => void = () => undefined;
  #awake = false;
  #stopListening: () => Promise<void> = async () => undefined;
  #running: Promise<void> = Promise.resolve();
  #publishing: Promise<void> | null = null;
  #publishAgainAt = 0;
  /** How many events are published together: fewer after a failure, so that a part of them may get through. */
  #batch = BATCH;
  #purging: Promise<void> | null = null;
  #purgeAgainAt = 0;
  #marking: Promise<void> | null = null;
  /** The position to note in the database as published, by the relay of which term. */
  #toMark = { position: 0, term: 0 };
  #retaining: Promise<void> | null = null;
  #retainAt = 0;

  constructor(options: RelayOptions<Tables>) {
    this.#options = options;
    const { logger, health } = options;
    this.#waits = new Fault({
      logger,
      began: 'events wait in the outbox',
      ended: 'events are published again',
      patienceMs: PATIENCE_MS,
    });
    this.#untold = new Fault({
      logger,
      level: 'error',
      began: 'caches could not be told what some events changed; they drop what they have of this service',
      ended: 'caches are told of changes again',
    });
    this.#unpurged = new Fault({
      logger,
      began: 'erased personal data could not be purged from the event bus yet; the purge is repeated',
      ended: 'erased personal data was purged from the event bus',
    });
    this.#unretained = new Fault({
      logger,
      began: 'retention deletes no events',
      ended: 'retention deletes events again',
      patienceMs: Math.min(RETENTION_PATIENCE_MS, options.retentionMs),
    });
    this.#tooLarge = new Fault({
      logger,
      began: 'events are too large for the event bus; consumers read them from the event log',
      ended: 'events fit into the event bus again',
      details: { source: options.source },
    });
    this.#tooLargeEvents = new Counter({
      name: 'events_too_large_total',
      help: 'Events that were left out of the event bus because of their size',
      registers: [options.metrics],
    });
    const check = (name: string, fault: Fault, meaning: string) =>
      health.add({
        name,
        required: false,
        check: () => (fault.cause === null ? null : `${meaning}: ${fault.cause}`),
      });
    check('events', this.#waits, 'events wait in the outbox');
    check('erasure from the event bus', this.#unpurged, 'the event bus keeps erased personal data for now');
    check('retention', this.#unretained, 'no events are deleted');
    this.#addMetrics();
  }

  start(): void {
    const { source, databaseUrl } = this.#options;
    this.#stopListening = listenToNotifications({
      url: databaseUrl,
      // Not `-relay`: by that name `endCompatibility` recognises processes of the release before.
      applicationName: `tributary-${source}-outbox`,
      channel: OUTBOX_CHANNEL,
      onPayload: () => this.#wakeUp(),
      onListening: () => this.#wakeUp(),
    });
    this.#running = this.#run();
  }

  /** Gives up the lead. Resolves within a second, whatever hangs. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#wakeUp();
    for (const fault of [this.#waits, this.#untold, this.#unpurged, this.#unretained, this.#tooLarge]) fault.stop();
    const work = [
      this.#running,
      this.#publishing,
      this.#purging,
      this.#retaining,
      this.#marking,
      this.#stopListening(),
    ];
    // What hangs on the event bus keeps nobody from taking the lead; it sends nothing more.
    await settledWithin(
      STOP_MS,
      work.map(async (part) => part),
    );
    const { db, logger } = this.#options;
    await within(
      RELEASE_MS,
      releaseLead(db, this.#id).catch((error) => logger.warn({ err: error }, 'the relay could not give up its lead')),
    );
  }

  #addMetrics(): void {
    const relay = this;
    const { db, metrics } = this.#options;
    new Gauge({
      name: 'relay_leading',
      help: '1 while this process publishes the outbox',
      registers: [metrics],
      aggregator: 'max',
      collect() {
        this.set(relay.#holds(relay.#lead) ? 1 : 0);
      },
    });
    addDatabaseGauge(metrics, {
      name: 'relay_backlog_events',
      help: 'Events that are committed and not yet published',
      async read() {
        const { rows } = await sql<{ backlog: number }>`
          select head - published + (select count(*) from outbox where position is null) as backlog from ledger
        `.execute(db);
        return rows[0]?.backlog ?? 0;
      },
    });
    new Gauge({
      name: 'retention_waiting',
      help: '1 while retention deletes nothing because a declared consumer is not known, else 0',
      registers: [metrics],
      aggregator: 'max',
      collect() {
        this.set(relay.#unretained.cause === null ? 0 : 1);
      },
    });
  }

  #holds(lead: Lead | null): lead is Lead {
    return lead !== null && lead === this.#lead && performance.now() < lead.until && !this.#stopped.signal.aborted;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      try {
        if (await this.#relay()) continue;
      } catch (error) {
        this.#waits.failed(error);
        await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
      await this.#waitForWork();
    }
  }

  /** @returns whether there may be more to do at once */
  async #relay(): Promise<boolean> {
    const { db, source } = this.#options;
    // Taken before the look: what is committed while it, or the publishing, goes on is not in it.
    const at = Date.now();
    const askedAt = performance.now();
    const claim = await claimLead(db, this.#id, BATCH);
    if (!claim) {
      this.#lead = null;
      // Whatever it was, it is the leader's to report now.
      for (const fault of [this.#unpurged, this.#unretained, this.#tooLarge]) fault.worked();
      // Except that there may be no leader that publishes.
      const oldestMs = await readOldestUnpublishedMs(db);
      if (oldestMs < UNPUBLISHED_MS) this.#waits.worked();
      else
        this.#waits.failed(`the oldest was committed ${Math.round(oldestMs / 1000)} s ago, and no relay publishes it`);
      return false;
    }
    if (this.#lead?.term === claim.term && claim.head < this.#lead.head) {
      // The database was put back to an earlier moment of this term: in a new term, this relay and its listeners begin anew.
      this.#lead = null;
      await releaseLead(db, this.#id);
      return true;
    }
    const lead = this.#lead?.term === claim.term ? this.#lead : await this.#begin(claim.term);
    lead.until = askedAt + claim.remainingMs;
    lead.head = claim.head;
    // After a full batch there may be more that was committed before.
    if (claim.numbered < BATCH) lead.complete = { position: claim.head, at };
    const events = await readEvents(db, source, lead.told, lead.head, BATCH);
    this.#tell(lead, events);
    this.#publish(lead, events);
    this.#purgeAgain(lead);
    this.#retain(lead);
    if (performance.now() > this.#tooLargeUntil) this.#tooLarge.worked();
    // What is committed meanwhile is taken together; but whoever caches does not wait for a bus that hangs.
    if (this.#publishing !== null) await within(TICK_MS, this.#publishing);
    return this.#publishing !== null || claim.numbered === BATCH || events.length === BATCH;
  }

  async #begin(term: number): Promise<Lead> {
    const { rows } = await sql<{ published: number }>`
      select greatest(published, deleted_to) as published from ledger
    `.execute(this.#options.db);
    const published = rows[0]?.published ?? 0;
    this.#lead = {
      term,
      until: 0,
      head: 0,
      published,
      told: published,
      complete: { position: 0, at: 0 },
      toldAt: 0,
      announcedAt: 0,
      settledAt: performance.now() + LATE_MS,
      purges: new Map(),
    };
    return this.#lead;
  }

  /** Whoever caches must know at once, and also that nothing happened; nobody is waited for. */
  #tell(lead: Lead, events: readonly LedgerEvent[]): void {
    if (!this.#holds(lead)) return;
    let from = lead.told;
    let touched: Touch[] = [];
    let failure: string | null = null;
    const send = (touches: Touches) => {
      try {
        this.#options.bus.tell(this.#options.source, touches);
      } catch (error) {
        failure = causeOf(error);
      }
    };
    const to = events.at(-1)?.position ?? lead.told;
    for (const event of events) {
      try {
        touched.push(touchOf(event, this.#options.touchedBy));
      } catch (error) {
        failure = `${event.type} at position ${event.position}: ${causeOf(error)}`;
        // What comes next begins after it: listeners see the gap, and keep nothing that it may have changed.
        const before = event.position - 1;
        if (before > from) send({ from, to: before, at: lead.toldAt, term: lead.term, touched });
        from = event.position;
        touched = [];
      }
    }
    if (to >= lead.complete.position) lead.toldAt = Math.max(lead.toldAt, lead.complete.at);
    send({ from, to, at: lead.toldAt, term: lead.term, touched });
    // Also what could not be told: the next message then shows the gap.
    lead.told = to;
    if (failure !== null) this.#untold.failed(failure);
    else if (events.length > 0) this.#untold.worked();
  }

  /** Publishes beside the turns of the relay, and announces how far the event log goes. @param events what was just told of */
  #publish(lead: Lead, events: readonly LedgerEvent[]): void {
    const isDone = lead.published >= lead.head;
    if (isDone) this.#waits.worked();
    // Consumers that hear of a head read the event log when nothing brings its events: they also do while the bus keeps none.
    const isLate = performance.now() - lead.announcedAt > 2 * TICK_MS;
    if (isDone || isLate) this.#announce(lead);
    if (isDone || this.#publishing || performance.now() < this.#publishAgainAt) return;
    this.#publishing = this.#publishAll(lead, events)
      .catch((error) => {
        this.#batch = Math.max(1, Math.floor(this.#batch / 2));
        this.#publishAgainAt = performance.now() + RETRY_MS;
        lead.settledAt = performance.now() + LATE_MS;
        if (this.#holds(lead)) this.#waits.failed(error);
      })
      .finally(() => {
        this.#publishing = null;
      });
  }

  async #publishAll(lead: Lead, given: readonly LedgerEvent[]): Promise<void> {
    const { db, source, bus } = this.#options;
    let events = given.slice(0, this.#batch);
    do {
      // Read anew after a failure: personal data may have been erased since.
      if (events[0]?.position !== lead.published + 1) {
        events = await readEvents(db, source, lead.published, lead.head, this.#batch);
      }
      const last = events.at(-1);
      if (!last) throw new Error(`the event log has no events after position ${lead.published}`);
      await this.#purgeBefore(lead, events);
      if (!this.#holds(lead)) return;
      this.#noteTooLarge(await bus.publish(source, events, () => this.#holds(lead)));
      lead.published = last.position;
      this.#batch = BATCH;
      this.#waits.worked();
      this.#markPublished(lead);
      this.#announce(lead);
      events = [];
    } while (lead.published < lead.head);
  }

  /**
   * Purges from the bus what it keeps of aggregates whose personal data was erased, before the erasure itself is published. A purge that
   * fails is repeated beside the publishing, also by the next leader: until then the position is not noted as published. So is one after
   * which the bus may still get what was sent before.
   */
  async #purgeBefore(lead: Lead, events: readonly LedgerEvent[]): Promise<void> {
    for (const event of events) {
      const key = `${event.aggregateType} ${event.aggregateId}`;
      if (event.data.erased === true && !lead.purges.has(key)) lead.purges.set(key, event);
    }
    if (this.#unpurged.cause !== null && lead.purges.size > MAX_PURGES)
      throw new Error(`${lead.purges.size} aggregates wait to be purged from the event bus`);
    if (this.#unpurged.cause === null) await this.#purge(lead);
  }

  #purgeAgain(lead: Lead): void {
    const now = performance.now();
    const isDue = this.#unpurged.cause === null ? now >= lead.settledAt : now >= this.#purgeAgainAt;
    if (lead.purges.size === 0 || this.#purging || !isDue) return;
    this.#purging = this.#purge(lead).finally(() => {
      this.#purging = null;
    });
  }

  async #purge(lead: Lead): Promise<void> {
    const { source, bus } = this.#options;
    for (const [key, event] of [...lead.purges]) {
      if (!this.#holds(lead)) return;
      const isSettled = performance.now() >= lead.settledAt;
      try {
        await bus.forget(source, event.aggregateType, event.aggregateId);
        if (isSettled && lead.purges.get(key) === event) lead.purges.delete(key);
      } catch (error) {
        this.#purgeAgainAt = performance.now() + RETRY_MS;
        this.#unpurged.failed(error);
        return;
      }
    }
    this.#unpurged.worked();
    this.#markPublished(lead);
  }

  #noteTooLarge(causes: readonly string[]): void {
    const last = causes.at(-1);
    if (last === undefined) return;
    this.#tooLargeEvents.inc(causes.length);
    this.#tooLargeUntil = performance.now() + TOO_LARGE_MS;
    this.#tooLarge.failed(last);
  }

  #announce(lead: Lead): void {
    if (!this.#holds(lead)) return;
    lead.announcedAt = performance.now();
    try {
      this.#options.bus.announce(this.#options.source, { position: lead.head, at: lead.complete.at, term: lead.term });
    } catch (error) {
      this.#options.logger.debug({ err: error }, 'the end of the event log could not be announced');
    }
  }

  /** Written now and then: what is published twice, after a restart, is skipped by consumers. */
  #markPublished(lead: Lead): void {
    const unpurged = [...lead.purges.values()].map(({ position }) => position - 1);
    this.#toMark = { position: Math.min(lead.published, ...unpurged), term: lead.term };
    this.#marking ??= this.#mark().finally(() => {
      this.#marking = null;
    });
  }

  async #mark(): Promise<void> {
    const { db, logger } = this.#options;
    let marked: { readonly position: number; readonly term: number } | null = null;
    while (marked !== this.#toMark) {
      await sleep(MARK_MS, undefined, { signal: this.#stopped.signal }).catch(() => undefined);
      marked = this.#toMark;
      const { position, term } = marked;
      try {
        await sql`update ledger set published = ${position} where published < ${position} and term = ${term}`.execute(
          db,
        );
      } catch (error) {
        logger.debug({ err: error }, 'it could not be noted what was published; it is published again after a restart');
        return;
      }
    }
  }

  /** Deletes old events now and then, beside the turns of the relay. */
  #retain(lead: Lead): void {
    const { db, retentionMs, consumers, logger } = this.#options;
    if (retentionMs === 0 || this.#retaining || performance.now() < this.#retainAt || !this.#holds(lead)) return;
    this.#retainAt = performance.now() + RETENTION_INTERVAL_MS;
    this.#retaining = deleteOldEvents(db, retentionMs, consumers)
      .then(({ more, missing }) => {
        if (more) this.#retainAt = 0;
        if (missing.length === 0) this.#unretained.worked();
        else
          this.#unretained.failed(
            `EVENT_LOG_CONSUMERS has ${missing.map((name) => `"${name}"`).join(', ')}, of which no position is known`,
          );
      })
      .catch((error) => logger.debug({ err: error }, 'old events could not be deleted; trying again'))
      .finally(() => {
        this.#retaining = null;
      });
  }

  #wakeUp(): void {
    // Who does not lead looks for an expired lease now and then; commits are nothing to it.
    if (this.#lead === null && !this.#stopped.signal.aborted) return;
    this.#awake = true;
    this.#wake();
  }

  async #waitForWork(): Promise<void> {
    // Something may have been committed since we looked; its notification has come already.
    if (!this.#awake && !this.#stopped.signal.aborted) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await within(TICK_MS, woken);
    }
    this.#awake = false;
  }
}

/** Waits for something that never fails, but no longer than so many milliseconds. */
async function within(ms: number, promise: Promise<unknown>): Promise<void> {
  const patience = new AbortController();
  await Promise.race([promise, sleep(ms, undefined, { signal: patience.signal }).catch(() => undefined)]);
  patience.abort();
}
