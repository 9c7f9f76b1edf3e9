import type { Origin } from '@tributary/bus';
import { recordEvents } from '@tributary/events';
import { conflict, notFound } from '@tributary/server';
import { MAX_COUNTER, type PageRequest, requireAmount, requireId, requireIdempotencyKey } from '@tributary/subgraph';
import { type Kysely, type SqlBool, sql } from 'kysely';
import type { AccountEntryRow, AccountRow, UsersTables } from './storage/tables.js';
import { accountCredited } from './user-events.js';

/** The most that deposits can bring an account to. The column holds ten times as much, so a refund always fits. */
const MAX_BALANCE = '1000000000000000';

/** The money that orders are paid from: a balance per user, and every entry that made it. */
export class Accounts {
  readonly #db: Kysely<UsersTables>;

  constructor(db: Kysely<UsersTables>) {
    this.#db = db;
  }

  async ofUsers(userIds: readonly string[]): Promise<AccountRow[]> {
    return this.#db.selectFrom('accounts').selectAll().where(sql<SqlBool>`user_id = any(${userIds})`).execute();
  }

  /** The same page of several accounts' entries, newest first, one more row each than the page holds. */
  async entriesOf(userIds: readonly string[], page: PageRequest): Promise<AccountEntryRow[]> {
    const [before] = page.after ?? [];
    const { rows } = await sql<AccountEntryRow>`
      select entries.*
      from unnest(${userIds}::text[]) as requested (user_id)
      cross join lateral (
        select * from account_entries
        where account_entries.user_id = requested.user_id
          and (${before ?? null}::bigint is null or id < ${before ?? null}::bigint)
        order by id desc
        limit ${page.first + 1}
      ) as entries
      order by entries.user_id, entries.id desc
    `.execute(this.#db);
    return rows;
  }

  async entryCounts(userIds: readonly string[]): Promise<{ user_id: string; count: number }[]> {
    return this.#db
      .selectFrom('account_entries')
      .select((eb) => ['user_id', eb.fn.countAll<number>().as('count')])
      .where(sql<SqlBool>`user_id = any(${userIds})`)
      .groupBy('user_id')
      .execute();
  }

  /**
   * Puts money on an account, once per idempotency key of this account.
   *
   * @throws ApiError NOT_FOUND, BAD_USER_INPUT, or CONFLICT (USER_DELETED, IDEMPOTENCY_KEY_REUSED, ACCOUNT_LIMIT)
   */
  async deposit(givenUserId: string, requested: string, key: string, origin: Origin): Promise<void> {
    const userId = requireId('userId', givenUserId);
    const amount = requireAmount('amount', requested);
    const idempotencyKey = requireIdempotencyKey(key);
    await this.#db.transaction().execute(async (transaction) => {
      const user = await transaction.selectFrom('users').select('status').where('id', '=', userId).executeTakeFirst();
      if (!user) throw notFound('user', userId);
      const inserted = await transaction
        .insertInto('account_entries')
        .values({ user_id: userId, amount, reason: 'deposit', order_id: null, idempotency_key: idempotencyKey })
        // No target: during an upgrade keys are also unique over all accounts, as the release before needs it.
        .onConflict((conflicting) => conflicting.doNothing())
        .returning('id')
        .executeTakeFirst();
      if (!inserted) return refuseOtherUse(transaction, userId, amount, idempotencyKey);
      if (user.status === 'DELETED') throw conflict('USER_DELETED', `User "${userId}" was deleted.`, 'userId');
      const account = await transaction
        .updateTable('accounts')
        .set({ balance: sql`balance + ${amount}`, version: sql`version + 1` })
        .where('user_id', '=', userId)
        .where('version', '<', MAX_COUNTER)
        .where(sql<SqlBool>`balance + ${amount} <= ${MAX_BALANCE}::numeric`)
        .returning(['balance', 'version'])
        .executeTakeFirst();
      if (!account) {
        throw conflict(
          'ACCOUNT_LIMIT',
          `The account holds at most ${MAX_BALANCE} and ${MAX_COUNTER} entries.`,
          'userId',
        );
      }
      const data = { amount, balance: account.balance, reason: 'deposit' };
      await recordEvents(transaction, [accountCredited(userId, account.version, data)], origin);
    });
  }
}

/** A key that was used before must stand for the same request. */
async function refuseOtherUse(db: Kysely<UsersTables>, userId: string, amount: string, key: string): Promise<void> {
  const before = await db
    .selectFrom('account_entries')
    .select('amount')
    .where('user_id', '=', userId)
    .where('reason', '=', 'deposit')
    .where('idempotency_key', '=', key)
    .executeTakeFirst();
  if (before?.amount !== amount) {
    const use = before ? `a deposit of ${before.amount}` : 'another account';
    throw conflict(
      'IDEMPOTENCY_KEY_REUSED',
      `This idempotency key was used for ${use}; a new request needs a new key.`,
      'idempotencyKey',
    );
  }
}
