import { Decimal } from '@tributary/server';
import { encodeCursor, Money, money, Page, pageRequest } from '@tributary/subgraph';
import { Arg, Ctx, FieldResolver, ID, Int, Mutation, Resolver, Root } from 'type-graphql';
import type { Accounts } from '../accounts.js';
import type { UsersContext } from '../context.js';
import type { AccountEntryRow } from '../storage/tables.js';
import { Account, type AccountEntry, AccountEntryConnection } from './user-types.js';

const NEWEST_FIRST = 'account-entries';

@Resolver(() => Account)
export class AccountResolver {
  readonly #accounts: Accounts;

  constructor(accounts: Accounts) {
    this.#accounts = accounts;
  }

  @FieldResolver(() => Money)
  async balance(@Root() { userId }: Account, @Ctx() context: UsersContext): Promise<Money> {
    const row = await context.account.load(userId);
    return money(row?.balance ?? '0');
  }

  @FieldResolver(() => AccountEntryConnection, { description: 'Newest first.' })
  async entries(
    @Root() { userId }: Account,
    @Arg('first', () => Int, { nullable: true, defaultValue: 20 }) first: number | null,
    @Arg('after', () => String, { nullable: true }) after: string | null | undefined,
    @Ctx() context: UsersContext,
  ): Promise<Page<AccountEntry>> {
    const page = pageRequest({ first, after }, NEWEST_FIRST, ['integer']);
    const rows = await context.entries(page).load(userId);
    return new Page(
      page,
      rows.map(showEntry),
      (entry) => encodeCursor(NEWEST_FIRST, [Number(entry.id)]),
      async () => (await context.entryCount.load(userId))?.count ?? 0,
    );
  }

  @Mutation(() => Account, {
    description: 'Deposits money in an account. A repetition with the same key has no effect.',
  })
  async deposit(
    @Arg('userId', () => ID) userId: string,
    @Arg('amount', () => Decimal) amount: string,
    @Arg('idempotencyKey', () => ID) idempotencyKey: string,
    @Ctx() { origin }: UsersContext,
  ): Promise<Account> {
    await this.#accounts.deposit(userId, amount, idempotencyKey, origin);
    return { userId };
  }
}

function showEntry(row: AccountEntryRow): AccountEntry {
  return {
    id: String(row.id),
    amount: money(row.amount),
    reason: row.reason,
    orderId: row.order_id,
    at: row.at,
  };
}
