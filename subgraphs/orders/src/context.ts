import { originOf } from '@tributary/events';
import type { GraphQLRequest } from '@tributary/server';
import { groupedLoader, loaderByArguments, type PageRequest, rowLoader } from '@tributary/subgraph';
import type { OrderEventStore } from './order/event-store.js';
import type { Orders } from './orders.js';
import { LONGEST_WAIT_MS } from './placement/placement.js';
import type { SagaStore } from './placement/saga-store.js';

/** Fresh loaders for a request: what they hold never outlives it. */
export function createContext(orders: Orders, events: OrderEventStore, sagas: SagaStore, request: GraphQLRequest) {
  const deadline = performance.now() + LONGEST_WAIT_MS;
  return {
    origin: originOf(request),
    /** When the commands of the request stop waiting, as `performance.now()` has it. */
    deadline,
    /** How long the commands of the request may still wait for what becomes of them. */
    mayWaitMs: () => Math.max(0, deadline - performance.now()),
    order: rowLoader(
      (ids: readonly string[]) => orders.byIds(ids),
      (row) => row.id,
    ),
    orderByNumber: rowLoader(
      (numbers: readonly string[]) => orders.byNumbers(numbers),
      (row) => row.number,
    ),
    items: groupedLoader(
      (orderIds: readonly string[]) => orders.itemsOf(orderIds),
      (row) => row.order_id,
    ),
    events: groupedLoader(
      (orderIds: readonly string[]) => events.ofOrders(orderIds),
      (event) => event.orderId,
    ),
    saga: rowLoader(
      (orderIds: readonly string[]) => sagas.ofOrders(orderIds),
      (saga) => saga.id,
    ),
    userCopy: rowLoader(
      (ids: readonly string[]) => orders.userCopies(ids),
      (row) => row.id,
    ),
    productCopy: rowLoader(
      (ids: readonly string[]) => orders.productCopies(ids),
      (row) => row.id,
    ),
    userStats: rowLoader(
      (ids: readonly string[]) => orders.userStats(ids),
      (row) => row.user_id,
    ),
    productSales: rowLoader(
      (ids: readonly string[]) => orders.productSales(ids),
      (row) => row.product_id,
    ),
    customerOrders: loaderByArguments((args: { page: PageRequest; status: string | null }) =>
      groupedLoader(
        (customerIds: readonly string[]) => orders.ofCustomers(customerIds, args.page, args.status),
        (row) => row.customer_id,
      ),
    ),
    customerOrderCount: loaderByArguments((status: string | null) =>
      rowLoader(
        (customerIds: readonly string[]) => orders.countsOfCustomers(customerIds, status),
        (row) => row.customer_id,
      ),
    ),
  };
}

/** What the resolvers of one request share. */
export type OrdersContext = ReturnType<typeof createContext>;
