import type { LoggedEvent } from '@tributary/bus';
import type { ApplyEvents } from '@tributary/events';
import { bulkInsert } from '@tributary/postgres';
import { DELETED_USER } from '@tributary/subgraph';
import { type Kysely, sql } from 'kysely';
import { z } from 'zod';
import type { OrdersTables } from '../storage/tables.js';

const personalSchema = z.object({ name: z.string(), email: z.string() });
const erasedSchema = z.object({ erased: z.literal(true) });
/** The fields of a user's event that this service reads; others may be added or removed. */
const userSchema = z.union([erasedSchema, personalSchema]);

const USER_COLUMNS = { id: 'text', name: 'text', email: 'text', version: 'integer', deleted: 'boolean' };

/**
 * Keeps what orders show of users: name and e-mail address. A version that is not newer changes nothing, and a deleted
 * user's row is a tombstone that no later or repeated event brings back to life.
 */
export const copyUsersTo =
  (table: string): ApplyEvents<OrdersTables> =>
  async (transaction, events) => {
    const rows = new Map<string, { id: string; name: string; email: string; version: number; deleted: boolean }>();
    for (const event of events) {
      if (event.aggregateType !== 'User') continue;
      const before = rows.get(event.aggregateId);
      // The same rule within a batch as between batches (below): newer wins, and a deleted user stays deleted.
      if (before && (before.deleted || before.version >= event.aggregateVersion)) continue;
      rows.set(event.aggregateId, { id: event.aggregateId, version: event.aggregateVersion, ...readUser(event) });
    }
    await bulkInsert(transaction as unknown as Kysely<never>, table, USER_COLUMNS, [...rows.values()], {
      onConflict: sql`on conflict (id) do update set
      name = excluded.name, email = excluded.email, version = excluded.version, deleted = excluded.deleted
      where not stored.deleted and stored.version < excluded.version`,
    });
  };

function readUser(event: LoggedEvent): { name: string; email: string; deleted: boolean } {
  const data = userSchema.parse(event.data);
  // An event of the past whose personal data was erased: the user has been deleted since, or is about to be here.
  if ('erased' in data) return { ...DELETED_USER, deleted: event.type === 'UserDeleted' };
  return { ...data, deleted: false };
}
