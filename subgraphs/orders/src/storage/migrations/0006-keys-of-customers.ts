import { type Migration, sql } from 'kysely';

export const migration: Migration = {
  async up(db) {
    await sql`
        alter table placement_sagas add column customer_id text;
        update placement_sagas set customer_id = request::jsonb ->> 'customerId';
        alter table placement_sagas alter column customer_id set not null;
        create unique index placement_sagas_customer_key on placement_sagas (customer_id, idempotency_key);
        drop index placement_sagas_idempotency_key;

        -- A sum that does not fit would keep orders from being confirmed after their customers have paid.
        alter table user_order_stats alter column total_spent type numeric;
        alter table product_sales alter column revenue type numeric;
      `.execute(db);
  },
};
