import { money, Page, pageRequest, toInt } from '@tributary/subgraph';
import { Arg, Ctx, FieldResolver, Int, Resolver, Root } from 'type-graphql';
import type { OrdersContext } from '../context.js';
import { NEWEST_FIRST, orderCursor, showOrder } from './order-resolver.js';
import { type Order, OrderConnection, OrderStatus, User, UserOrderStats } from './order-types.js';

/** What orders add to a user. */
@Resolver(() => User)
export class UserResolver {
  @FieldResolver(() => OrderConnection, { description: 'Newest first.' })
  async orders(
    @Root() { id }: User,
    @Arg('first', () => Int, { nullable: true, defaultValue: 20 }) first: number | null,
    @Arg('after', () => String, { nullable: true }) after: string | null | undefined,
    @Arg('status', () => OrderStatus, { nullable: true }) givenStatus: OrderStatus | null | undefined,
    @Ctx() context: OrdersContext,
  ): Promise<Page<Order>> {
    const status = givenStatus ?? null;
    const page = pageRequest({ first, after }, NEWEST_FIRST, ['date', 'string']);
    const rows = await context.customerOrders({ page, status }).load(id);
    return new Page(page, rows.map(showOrder), orderCursor, async () => {
      const counted = await context.customerOrderCount(status).load(id);
      return Number(counted?.count ?? 0);
    });
  }

  @FieldResolver(() => UserOrderStats)
  async orderStats(@Root() { id }: User, @Ctx() context: OrdersContext): Promise<UserOrderStats> {
    const row = await context.userStats.load(id);
    return {
      orderCount: toInt(row?.order_count ?? 0),
      totalSpent: money(row?.total_spent ?? '0'),
      lastOrderAt: row?.last_order_at ?? null,
    };
  }
}
