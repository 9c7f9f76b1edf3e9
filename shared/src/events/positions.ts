import { type Kysely, sql } from 'kysely';

/** A migration step: how far each consumer is, and what it could not apply. */
export async function createConsumerTables(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table consumer_positions (
      consumer text,
      source text,
      position bigint not null,
      updated_at timestamptz not null default now(),
      primary key (consumer, source)
    );

    create table dead_letters (
      consumer text,
      source text,
      position bigint,
      aggregate_type text not null,
      aggregate_id text not null,
      event jsonb not null,
      error text not null,
      attempts integer not null,
      parked_at timestamptz not null default now(),
      primary key (consumer, source, position)
    );
    create index dead_letters_by_aggregate on dead_letters (consumer, source, aggregate_type, aggregate_id, position);
  `.execute(db);
}

/** The position of a consumer, locked until the transaction ends: nobody else applies or retries meanwhile. */
export async function lockPosition<Tables>(
  transaction: Kysely<Tables>,
  consumer: string,
  source: string,
): Promise<number> {
  const lock = () =>
    sql<{ position: number }>`
      select position from consumer_positions where consumer = ${consumer} and source = ${source} for update
    `.execute(transaction);
  const [known] = (await lock()).rows;
  if (known) return known.position;
  await sql`
    insert into consumer_positions (consumer, source, position) values (${consumer}, ${source}, 0) on conflict do nothing
  `.execute(transaction);
  return (await lock()).rows[0]?.position ?? 0;
}

/** Keeps a position that is locked. */
export async function storePosition<Tables>(
  transaction: Kysely<Tables>,
  consumer: string,
  source: string,
  position: number,
): Promise<void> {
  await sql`
    update consumer_positions set position = ${position}, updated_at = now()
    where consumer = ${consumer} and source = ${source}
  `.execute(transaction);
}
