import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { LoggedEvent } from '@tributary/bus';
import { listenToNotifications } from '@tributary/postgres';
import { type Kysely, sql } from 'kysely';
import { type Claim, claimLead, releaseLead } from '../outbox/lease.js';
import { OUTBOX_CHANNEL, readEvents } from '../outbox/outbox.js';
import { deleteOldEvents, type Retained } from '../outbox/retention.js';
import { readOldestUnpublishedMs } from '../outbox/unpublished-events.js';

/** The port through which a relay uses its service's outbox. */
export interface OutboxStore {
  /** Claims or renews the lead, and assigns positions to at most `limit` committed events. @returns null while another relay leads */
  claimLead(limit: number): Promise<Claim | null>;
  releaseLead(): Promise<void>;
  /** The last position that is noted as published. */
  readPublished(): Promise<number>;
  /** The events after one position up to another, in order. */
  readEvents(after: number, upTo: number, limit: number): Promise<LoggedEvent[]>;
  /** Notes a position as published, unless a relay of another term leads or a later one is noted. */
  markPublished(position: number, term: number): Promise<void>;
  deleteOldEvents(retentionMs: number, consumers: readonly string[]): Promise<Retained>;
  /** The age of the oldest event that is committed and not noted as published. */
  readOldestUnpublishedMs(): Promise<number>;
  /** How many events are committed and not noted as published. */
  readBacklog(): Promise<number>;
  /** Calls `onCommit` when something may have been committed. @returns how to stop */
  watchCommits(onCommit: () => void): () => Promise<void>;
}

export interface DatabaseOutboxOptions<Tables> {
  readonly source: string;
  readonly databaseUrl: string;
  readonly db: Kysely<Tables>;
}

/** The outbox in the service's database, for one relay. */
export function databaseOutbox<Tables>({ source, databaseUrl, db }: DatabaseOutboxOptions<Tables>): OutboxStore {
  // Readable for an operator who inspects the database.
  const relayId = `${hostname()} ${process.pid} ${randomUUID()}`;
  return {
    claimLead: (limit) => claimLead(db, relayId, limit),
    releaseLead: () => releaseLead(db, relayId),
    async readPublished() {
      const { rows } = await sql<{ published: number }>`
        select greatest(published, deleted_to) as published from ledger
      `.execute(db);
      return rows[0]?.published ?? 0;
    },
    readEvents: (after, upTo, limit) => readEvents(db, source, after, upTo, limit),
    async markPublished(position, term) {
      await sql`update ledger set published = ${position} where published < ${position} and term = ${term}`.execute(db);
    },
    deleteOldEvents: (retentionMs, consumers) => deleteOldEvents(db, retentionMs, consumers),
    readOldestUnpublishedMs: () => readOldestUnpublishedMs(db),
    async readBacklog() {
      const { rows } = await sql<{ backlog: number }>`
        select head - published + (select count(*) from outbox where position is null) as backlog from ledger
      `.execute(db);
      return rows[0]?.backlog ?? 0;
    },
    watchCommits: (onCommit) =>
      listenToNotifications({
        url: databaseUrl,
        // Not `-relay`: by that name `endCompatibility` recognises processes of the release before.
        applicationName: `tributary-${source}-outbox`,
        channel: OUTBOX_CHANNEL,
        onPayload: onCommit,
        onListening: onCommit,
      }),
  };
}
