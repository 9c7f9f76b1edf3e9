import { type Migration, sql } from 'kysely';

export const migration: Migration = {
  async up(db) {
    // Commands of the release before state the key alone as what is unique. Where keys of two rows are the same already, none of its
    // processes can be running. `endCompatibility` removes all of it.
    await sql`
        do $$ begin
          create unique index placement_sagas_idempotency_key on placement_sagas (idempotency_key);
        exception when unique_violation then null;
        end $$;
        create function set_customer_of_saga() returns trigger language plpgsql as $$ begin
          new.customer_id := new.request::jsonb ->> 'customerId';
          return new;
        end $$;
        create trigger placement_sagas_customer before insert on placement_sagas
          for each row when (new.customer_id is null) execute function set_customer_of_saga();
        create function end_compatibility() returns void language plpgsql as $$ begin
          drop index if exists placement_sagas_idempotency_key;
          drop trigger placement_sagas_customer on placement_sagas;
          drop function set_customer_of_saga();
        end $$
      `.execute(db);
  },
};
