import { money, toInt } from '@tributary/subgraph';
import { Ctx, FieldResolver, Resolver, Root } from 'type-graphql';
import type { OrdersContext } from '../context.js';
import { Product, ProductSales } from './order-types.js';

/** What orders add to a product. */
@Resolver(() => Product)
export class ProductResolver {
  @FieldResolver(() => ProductSales)
  async sales(@Root() { id }: Product, @Ctx() context: OrdersContext): Promise<ProductSales> {
    const row = await context.productSales.load(id);
    return {
      unitsSold: toInt(row?.units_sold ?? 0),
      revenue: money(row?.revenue ?? '0'),
      orderCount: toInt(row?.order_count ?? 0),
    };
  }
}
