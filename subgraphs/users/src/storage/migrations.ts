import type { Migrations } from '@tributary/postgres';
import { type Kysely, sql } from 'kysely';
import { migration as m0001 } from './migrations/0001-users.js';
import { migration as m0002 } from './migrations/0002-row-counts.js';
import { migration as m0003 } from './migrations/0003-events.js';
import { migration as m0004 } from './migrations/0004-payments.js';
import { migration as m0005 } from './migrations/0005-keys-and-search.js';
import { migration as m0006 } from './migrations/0006-relay-lease.js';
import { migration as m0007 } from './migrations/0007-copies-in-sync.js';
import { migration as m0008 } from './migrations/0008-beside-the-release-before.js';

/** The migrations of the database. Each file is frozen: a released one is never edited, a change is a new migration. */
export const migrations: Migrations = {
  '0001-users': m0001,
  '0002-row-counts': m0002,
  '0003-events': m0003,
  '0004-payments': m0004,
  '0005-keys-and-search': m0005,
  '0006-relay-lease': m0006,
  '0007-copies-in-sync': m0007,
  '0008-beside-the-release-before': m0008,
};

/** Records events for rows that an import wrote into the tables without events. */
export async function recordImportedRows(db: Kysely<unknown>): Promise<void> {
  await sql`
    insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
    select gen_random_uuid(), case status when 'DELETED' then 'UserDeleted' else 'UserRegistered' end, 1, 'User', id, version, updated_at,
      case status
        when 'DELETED' then jsonb_build_object('status', status, 'erased', true)
        else jsonb_build_object('name', name, 'email', email, 'segment', segment, 'status', status)
      end
    from users order by created_at, id
  `.execute(db);
  await sql`
    update accounts set version = (select count(*) from account_entries where account_entries.user_id = accounts.user_id)
  `.execute(db);
  await sql`
    insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
    select gen_random_uuid(), 'AccountCredited', 1, 'Account', user_id, row_number() over (partition by user_id order by id), at,
      jsonb_build_object(
        'amount', amount::text,
        'balance', (sum(amount) over (partition by user_id order by id))::text,
        'reason', reason
      )
    from account_entries order by id
  `.execute(db);
}
