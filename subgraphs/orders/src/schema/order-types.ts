import { DateTime, Decimal, JSONValue } from '@tributary/server';
import { connectionOf, Money } from '@tributary/subgraph';
import { Directive, Field, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql';
import type { Order as OrderState } from '../order/order.js';
import type { RecordedOrderEvent } from '../order/order-events.js';
import type { StoredSaga } from '../placement/saga-store.js';

export enum OrderStatus {
  PENDING = 'PENDING',
  CONFIRMED = 'CONFIRMED',
  REJECTED = 'REJECTED',
  CANCELLED = 'CANCELLED',
}
registerEnumType(OrderStatus, { name: 'OrderStatus' });

/** The fields of a user in this service: its statistics, and a copy of what an order shows. */
@Directive('@key(fields: "id")')
@Directive('@cacheControl')
@ObjectType('User', { simpleResolvers: true })
export class User {
  @Field(() => ID) id!: string;
  @Directive('@external')
  @Field(() => String)
  name?: string;
  @Directive('@external')
  @Field(() => String)
  email?: string;
}

@ObjectType({
  simpleResolvers: true,
  description: 'What a user bought with confirmed orders. A count above 2,147,483,647 shows as that.',
})
export class UserOrderStats {
  @Field(() => Int) orderCount!: number;
  @Field(() => Money) totalSpent!: Money;
  @Field(() => DateTime, { nullable: true }) lastOrderAt!: Date | null;
}

/** The fields of a product in this service: its sales, and a copy of what an order shows. */
@Directive('@key(fields: "id")')
@Directive('@cacheControl')
@ObjectType('Product', { simpleResolvers: true })
export class Product {
  @Field(() => ID) id!: string;
  @Directive('@external')
  @Field(() => String)
  sku?: string;
  @Directive('@external')
  @Field(() => String)
  name?: string;
}

@ObjectType({
  simpleResolvers: true,
  description: 'What confirmed orders sold of a product. A count above 2,147,483,647 shows as that.',
})
export class ProductSales {
  @Field(() => Int) unitsSold!: number;
  @Field(() => Money) revenue!: Money;
  @Field(() => Int) orderCount!: number;
}

@ObjectType({ simpleResolvers: true })
export class OrderItem {
  @Directive('@provides(fields: "sku name")')
  @Field(() => Product, {
    description:
      'A product that does not exist, or that this service has no copy of yet, has the name "Unknown product".',
  })
  product!: Product;
  @Field(() => Int) quantity!: number;
  @Field(() => Money, { description: 'The price of one unit, before the discount.' }) unitPrice!: Money;
  @Field(() => Decimal, { description: 'A share of the price: "0.2" is 20 %.' }) discount!: string;
  @Field(() => Money, { description: 'What the line costs, after the discount.' }) lineTotal!: Money;
}

@ObjectType({ simpleResolvers: true })
export class OrderEvent {
  @Field(() => String) type!: string;
  @Field(() => Int) version!: number;
  @Field(() => DateTime) at!: Date;
  @Field(() => JSONValue) data!: unknown;
}

export enum SagaStatus {
  STARTED = 'STARTED',
  INVENTORY_RESERVED = 'INVENTORY_RESERVED',
  PAYMENT_CHARGED = 'PAYMENT_CHARGED',
  COMPLETED = 'COMPLETED',
  COMPENSATING = 'COMPENSATING',
  COMPENSATED = 'COMPENSATED',
  FAILED = 'FAILED',
}
registerEnumType(SagaStatus, { name: 'SagaStatus' });

@ObjectType({ simpleResolvers: true })
export class SagaStep {
  @Field(() => String, {
    description: 'reserve-stock, charge-account, confirm-stock; to undo them: refund-account, release-stock.',
  })
  name!: string;
  @Field(() => String, {
    description: 'PENDING, SUCCEEDED, REFUSED, TIMED_OUT, CANCELLED, FAILED, or RESOLVED (by an operator).',
  })
  outcome!: string;
  @Field(() => Int, { description: 'How often the command was sent.' }) attempts!: number;
  @Field(() => DateTime, { description: 'The time of the present outcome.' }) at!: Date;
  @Field(() => String, { nullable: true }) error!: string | null;
}

@ObjectType({ simpleResolvers: true, description: 'How an order was placed across the services.' })
export class OrderSaga {
  @Field(() => ID) id!: string;
  @Field(() => SagaStatus) status!: SagaStatus;
  @Field(() => [SagaStep]) steps!: SagaStep[];
  @Field(() => DateTime) startedAt!: Date;
  @Field(() => DateTime, { nullable: true }) finishedAt!: Date | null;
}

@Directive('@key(fields: "id")')
@Directive('@key(fields: "number")')
@Directive('@cacheControl')
@ObjectType({ simpleResolvers: true })
export class Order {
  @Field(() => ID) id!: string;
  @Field(() => String, { description: '"CA-2016-152156" for an imported order.' }) number!: string;
  @Field(() => OrderStatus) status!: OrderStatus;
  @Field(() => Money) total!: Money;
  @Field(() => DateTime) placedAt!: Date;
  @Field(() => DateTime) updatedAt!: Date;
  @Field(() => Int) version!: number;
  @Field(() => String, { nullable: true, description: 'Why the order was rejected, as a text for the customer.' })
  rejection!: string | null;

  /** Not a field: who ordered. */
  customerId!: string;
  /** Not a field: the saga, when it was read with the order; null when no saga placed it. */
  placement?: StoredSaga | null;
  /** Not a field: the order as it stood at a moment of the past, when that was asked for. */
  past?: { readonly order: OrderState; readonly events: readonly RecordedOrderEvent[]; readonly asOf: Date };
}

export const OrderConnection = connectionOf(() => Order, 'Order');

@InputType()
export class OrderItemInput {
  @Field(() => ID) productId!: string;
  @Field(() => Int) quantity!: number;
}

@InputType()
export class PlaceOrderInput {
  @Field(() => ID) customerId!: string;
  @Field(() => [OrderItemInput]) items!: OrderItemInput[];
  @Field(() => Int, {
    nullable: true,
    defaultValue: 2000,
    description:
      'The longest time to wait for the final status of the order, in milliseconds. All fields of a request together wait at most 4000 ms; a larger value has the effect of 4000.',
  })
  waitMs!: number | null;
}

@InputType()
export class OrderFilter {
  @Field(() => OrderStatus, { nullable: true }) status?: OrderStatus | null;
  @Field(() => ID, { nullable: true }) customerId?: string | null;
  @Field(() => DateTime, { nullable: true }) placedAfter?: Date | null;
  @Field(() => DateTime, { nullable: true }) placedBefore?: Date | null;
}
