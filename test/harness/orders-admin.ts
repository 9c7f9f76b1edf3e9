import { copiesOf, type OwnerSettings } from '../../subgraphs/orders/src/copies/copies.js';
import { OrdersAdmin } from '../../subgraphs/orders/src/orders-admin.js';

/** What operators do to the orders service of a test. The caller closes it. */
export function openOrdersAdmin(databaseUrl: string, owners: OwnerSettings): OrdersAdmin {
  return new OrdersAdmin(databaseUrl, copiesOf(owners));
}
