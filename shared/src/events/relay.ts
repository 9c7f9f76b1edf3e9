import { setTimeout as sleep } from 'node:timers/promises';
import type { Kysely } from 'kysely';
import { sql } from 'kysely';
import pg from 'pg';
import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import type { LedgerEvent } from './event.js';
import type { EventBus, LedgerHead } from './event-bus.js';
import { numberEvents, OUTBOX_CHANNEL, readEvents } from './outbox.js';

const BATCH = 500;
/** Heads are announced, and a missed notification is made up for, at least this often. */
const TICK_MS = 250;
const RETRY_MS = 1000;
/** How long what was published waits until it is noted in the database. */
const MARK_MS = 100;
/** Any number, the same in every relay: whoever holds this lock in a service's database is its relay. */
const LEADER_LOCK = 7_402_113;
const NOTHING_KNOWN: LedgerHead = { position: 0, at: 0 };

export interface RelayOptions<Tables> {
  readonly source: string;
  readonly databaseUrl: string;
  readonly db: Kysely<Tables>;
  readonly bus: EventBus;
  readonly logger: Logger;
  readonly metrics: Registry;
  /** The entities of the graph that an event touches: `Type:id`. */
  readonly touchedBy: (event: LedgerEvent) => readonly string[];
  /** How long events are kept after every known consumer has applied them, in milliseconds; 0 keeps them for ever. */
  readonly retentionMs: number;
}

/**
 * Publishes a service's outbox. Of all relays of a service one leads; another takes over when its connection ends.
 *
 * What is committed gets the next positions when the relay first sees it, so positions have no gaps and never come late.
 * Then it is published in their order, at least once.
 */
export class Relay<Tables> {
  readonly #options: RelayOptions<Tables>;
  readonly #stopped = new AbortController();
  #wake: () => void = () => undefined;
  #awake = false;
  #running: Promise<void> = Promise.resolve();
  #leading = false;
  /** While leading: the last position published. */
  #published: number | null = null;
  /** While leading: the last position that was told of. */
  #told: number | null = null;
  /** While leading: whatever was committed before `at` has a position up to `position`. */
  #complete: LedgerHead = NOTHING_KNOWN;
  /** While leading: whatever was committed before this time was told of; milliseconds since 1970. */
  #toldAt = NOTHING_KNOWN.at;
  #marking: Promise<void> | null = null;
  #problem: string | null = null;

  constructor(options: RelayOptions<Tables>) {
    this.#options = options;
    const relay = this;
    const { db, metrics } = options;
    new Gauge({
      name: 'relay_leading',
      help: '1 while this process publishes the outbox',
      registers: [metrics],
      aggregator: 'max',
      collect() {
        this.set(relay.#leading ? 1 : 0);
      },
    });
    new Gauge({
      name: 'relay_backlog_events',
      help: 'Events that are committed and not yet published',
      registers: [metrics],
      aggregator: 'max',
      async collect() {
        const { rows } = await sql<{ backlog: number }>`
          select head - published + (select count(*) from outbox where position is null) as backlog from ledger
        `.execute(db);
        this.set(rows[0]?.backlog ?? 0);
      },
    });
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#wake();
    await this.#running;
    await this.#marking;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      const client = new pg.Client({
        connectionString: this.#options.databaseUrl,
        application_name: `tributary-${this.#options.source}-relay`,
        connectionTimeoutMillis: 5000,
        keepAlive: true,
      });
      let lost = false;
      client.on('error', () => {
        lost = true;
        this.#wake();
      });
      client.on('end', () => {
        lost = true;
        this.#wake();
      });
      client.on('notification', () => {
        this.#awake = true;
        this.#wake();
      });
      try {
        await client.connect();
        await client.query(`listen ${OUTBOX_CHANNEL}`);
        while (!signal.aborted && !lost) {
          if (!this.#leading) {
            const { rows } = await client.query('select pg_try_advisory_lock($1) as leading', [LEADER_LOCK]);
            this.#leading = rows[0].leading;
          }
          if (this.#leading && (await this.#relayAll())) continue;
          await this.#waitForWork();
        }
      } catch (error) {
        this.#report((error as Error).message);
        await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
      } finally {
        this.#leading = false;
        this.#published = null;
        this.#told = null;
        this.#complete = NOTHING_KNOWN;
        this.#toldAt = NOTHING_KNOWN.at;
        await client.end().catch(() => undefined);
      }
    }
  }

  /** @returns whether there may be more to do at once */
  async #relayAll(): Promise<boolean> {
    // Taken before the look: what is committed while it, or the publishing, goes on is not in it.
    const at = Date.now();
    // What is committed gets its position here; it is safe with a relay that does not know yet that it lost the lead.
    const { numbered, head } = await numberEvents(this.#options.db, BATCH);
    // After a full batch there may be more that was committed before.
    if (numbered < BATCH) this.#complete = { position: head, at };
    const published = await this.#publish(head);
    await this.#forgetOldEvents();
    return numbered === BATCH || published === BATCH;
  }

  async #publish(head: number): Promise<number> {
    const { source, db, bus } = this.#options;
    const published = this.#published ?? (await this.#readPublished());
    const events = await readEvents(db, source, published, head, BATCH);
    this.#tell(published, events);
    try {
      for (const { data, aggregateType, aggregateId } of events) {
        if (data.erased === true) await bus.forget(source, aggregateType, aggregateId);
      }
      if (events.length > 0) await bus.publish(source, events);
      bus.announce(source, { position: head, at: this.#complete.at });
      this.#report(null);
    } catch (error) {
      this.#report((error as Error).message);
      return 0;
    }
    const last = events.at(-1)?.position;
    if (last !== undefined) this.#markPublished(last);
    return events.length;
  }

  /** Whoever caches must know at once, and also that nothing happened; nobody is waited for. */
  #tell(published: number, events: readonly LedgerEvent[]): void {
    const { source, bus, touchedBy } = this.#options;
    const from = this.#told ?? published;
    const touched = events
      .filter(({ position }) => position > from)
      .map((event) => ({ position: event.position, entities: touchedBy(event) }));
    const to = Math.max(from, events.at(-1)?.position ?? from);
    if (to >= this.#complete.position) this.#toldAt = Math.max(this.#toldAt, this.#complete.at);
    bus.tell(source, { from, to, at: this.#toldAt, touched });
    this.#told = to;
  }

  async #readPublished(): Promise<number> {
    const { rows } = await sql<{ published: number }>`
      select greatest(published, deleted_to) as published from ledger
    `.execute(this.#options.db);
    return rows[0]?.published ?? 0;
  }

  /** Written now and then: what is published twice, after a restart, is skipped by consumers. */
  #markPublished(position: number): void {
    this.#published = position;
    this.#marking ??= this.#mark();
  }

  async #mark(): Promise<void> {
    const { db, logger } = this.#options;
    let marked: number | null = null;
    while (this.#published !== null && this.#published !== marked) {
      await sleep(MARK_MS, undefined, { signal: this.#stopped.signal }).catch(() => undefined);
      marked = this.#published;
      try {
        await sql`update ledger set published = greatest(published, ${marked})`.execute(db);
      } catch (error) {
        logger.warn({ problem: (error as Error).message }, 'it could not be noted what was published');
        break;
      }
    }
    this.#marking = null;
  }

  /** Deletes what is old, published, and applied by every consumer that was ever known. */
  async #forgetOldEvents(): Promise<void> {
    const { db, retentionMs } = this.#options;
    if (retentionMs === 0) return;
    await sql`
      with deletable as (
        select max(position) as last from outbox, ledger
        where recorded_at < now() - make_interval(secs => ${retentionMs / 1000})
          and position <= least(ledger.published, (select min(position) from ledger_consumers))
      ), gone as (
        delete from outbox using deletable where position <= deletable.last
      )
      update ledger set deleted_to = greatest(deleted_to, deletable.last) from deletable where deletable.last is not null
    `.execute(db);
  }

  async #waitForWork(): Promise<void> {
    // Something may have been committed since we looked; its notification has come already.
    if (!this.#awake) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const tick = new AbortController();
      await Promise.race([woken, sleep(TICK_MS, undefined, { signal: tick.signal }).catch(() => undefined)]);
      tick.abort();
    }
    this.#awake = false;
  }

  #report(problem: string | null): void {
    if (problem === this.#problem) return;
    if (problem !== null) this.#options.logger.warn({ problem }, 'events wait in the outbox');
    else this.#options.logger.info('events are published again');
    this.#problem = problem;
  }
}
