import { ConsumerOperations } from '@tributary/events';
import { OrdersOperations } from '@tributary/orders';
import { feedsOf as feedsOfProducts, CONSUMER as PRODUCTS } from '@tributary/products';
import { feedsOf as feedsOfUsers, CONSUMER as USERS } from '@tributary/users';
import { findConnections } from './running-stack.js';

/** What every command for operators is given. */
export interface OperateOptions {
  readonly dataDir: string;
  readonly json: boolean;
}

/** What a service takes of others' events, whatever its tables. */
export type Consumer = Pick<
  ConsumerOperations<unknown>,
  'consumer' | 'sources' | 'deadLetters' | 'retryDeadLetters' | 'discardDeadLetter' | 'findGap' | 'skipGap' | 'close'
>;

/** Gives a command what it needs of the orders service of the stack. */
export async function withOrders(
  { dataDir }: OperateOptions,
  run: (operations: OrdersOperations) => Promise<void>,
): Promise<void> {
  const connections = findConnections(dataDir);
  const operations = new OrdersOperations(connections.ORDERS_DATABASE_URL, connections);
  try {
    await run(operations);
  } finally {
    await operations.close();
  }
}

/** Gives a command every service that takes events of others. */
export async function withConsumers(
  { dataDir }: OperateOptions,
  run: (consumers: readonly Consumer[]) => Promise<void>,
): Promise<void> {
  const connections = findConnections(dataDir);
  const consumers: Consumer[] = [
    new ConsumerOperations({
      consumer: USERS,
      databaseUrl: connections.USERS_DATABASE_URL,
      feeds: feedsOfUsers(connections),
    }),
    new ConsumerOperations({
      consumer: PRODUCTS,
      databaseUrl: connections.PRODUCTS_DATABASE_URL,
      feeds: feedsOfProducts(connections),
    }),
    new OrdersOperations(connections.ORDERS_DATABASE_URL, connections),
  ];
  try {
    await run(consumers);
  } finally {
    await Promise.all(consumers.map((consumer) => consumer.close()));
  }
}
