import { bulkInsert } from '@tributary/postgres';
import type { LoadHistory } from '@tributary/subgraph';
import { type Kysely, sql } from 'kysely';
import { recordImportedRows } from './storage/migrations.js';
import type { UsersTables } from './storage/tables.js';

/** What every imported customer starts with; the source has no accounts. */
const OPENING_BALANCE = '1000.00';

/** Writes the customers of the Superstore history, with their addresses and an account each, and their events for other services. */
export const importCustomers: LoadHistory<UsersTables> = async (transaction, { customers }, onRows) => {
  const db = transaction as unknown as Kysely<never>;
  const users = customers.map(({ id, name, email, segment, createdAt }) => ({
    id,
    name,
    email,
    segment,
    created_at: createdAt,
    updated_at: createdAt,
  }));
  const userColumns = {
    id: 'text',
    name: 'text',
    email: 'text',
    segment: 'text',
    created_at: 'timestamptz',
    updated_at: 'timestamptz',
  };
  await bulkInsert(db, 'users', userColumns, users, { onRows });

  const addresses = customers.flatMap(({ id, addresses }) =>
    addresses.map(({ postalCode, ...address }, position) => ({
      user_id: id,
      position,
      ...address,
      postal_code: postalCode,
    })),
  );
  const addressColumns = {
    user_id: 'text',
    position: 'integer',
    line: 'text',
    city: 'text',
    state: 'text',
    postal_code: 'text',
    country: 'text',
    region: 'text',
  };
  await bulkInsert(db, 'addresses', addressColumns, addresses);
  await sql`insert into accounts (user_id, balance) select id, ${OPENING_BALANCE}::numeric from users`.execute(db);
  await sql`
    insert into account_entries (user_id, amount, reason)
    select user_id, balance, 'opening balance' from accounts order by user_id
  `.execute(db);
  await recordImportedRows(transaction as unknown as Kysely<unknown>);
  await sql`analyze outbox, users, addresses, accounts, account_entries`.execute(db);
};
