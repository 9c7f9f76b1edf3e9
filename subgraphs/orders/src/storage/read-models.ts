import { type Kysely, sql } from 'kysely';

/** The tables that projections fill, and that can be rebuilt from the events. */
export const READ_MODELS = [
  'orders_read',
  'order_items_read',
  'order_counts',
  'user_order_stats',
  'product_sales',
] as const;

/** Creates the read models, empty, in the first schema of the search path. Sums of money have no upper bound. */
export async function createReadModels(db: Kysely<never>): Promise<void> {
  await sql`
    create table orders_read (
      id text primary key,
      number text not null,
      status text not null,
      customer_id text not null,
      currency text not null,
      total numeric(18, 2) not null,
      placed_at timestamptz(3) not null,
      updated_at timestamptz(3) not null,
      version integer not null,
      rejection text
    );
    create unique index orders_read_number_key on orders_read (number);
    create index orders_read_by_age on orders_read (placed_at, id);
    create index orders_read_by_status on orders_read (status, placed_at, id);
    create index orders_read_by_customer on orders_read (customer_id, placed_at, id);

    create table order_items_read (
      order_id text not null,
      position integer not null,
      product_id text not null,
      quantity integer not null,
      unit_price numeric(18, 2) not null,
      discount numeric(5, 4) not null,
      line_total numeric(18, 2) not null,
      primary key (order_id, position)
    );

    create table order_counts (
      customer_id text,
      status text,
      count bigint not null,
      primary key (customer_id, status)
    );

    create table user_order_stats (
      user_id text primary key,
      order_count bigint not null,
      total_spent numeric not null,
      last_order_at timestamptz(3)
    );

    create table product_sales (
      product_id text primary key,
      units_sold bigint not null,
      revenue numeric not null,
      order_count bigint not null
    );
  `.execute(db);
}
