import type { OrdersOperations } from '@tributary/orders';
import { type OperateOptions, withOrders } from './operations.js';
import { print } from './output.js';

/** Rebuilds a copy or a read model of orders from its events. */
export function rebuild(model: (typeof OrdersOperations.MODELS)[number], options: OperateOptions): Promise<void> {
  return withOrders(options, async (operations) => {
    const events = await operations.rebuild(model);
    print({ model, events }, { ...options, rows: [], empty: `Rebuilt ${model} from ${events} events.` });
  });
}
