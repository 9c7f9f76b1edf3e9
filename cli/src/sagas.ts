import { type OperateOptions, type SagaAdmin, withSagas } from './operations.js';
import { print } from './output.js';
import { UserError } from './user-error.js';

/** Prints the orders whose placement or cancellation is not over, the oldest first. */
export function listSagas(options: OperateOptions & { readonly failed: boolean }): Promise<void> {
  return withSagas(options, async (operations) => {
    const found = (await operations.sagas()).filter(({ status }) => !options.failed || status === 'FAILED');
    const rows = found.map(({ order_id: id, number, status, steps, failure, started_at: startedAt }) => {
      const waiting = steps.filter(({ outcome }) => outcome === 'PENDING' || outcome === 'FAILED');
      return {
        order: number,
        id,
        status,
        'waits for': waiting.map(({ name, attempts }) => `${name} (${attempts})`).join(', '),
        'age (s)': Math.round((Date.now() - startedAt.getTime()) / 1000),
        failure,
      };
    });
    const empty = options.failed ? 'No placement waits for an operator.' : 'Every placement is over.';
    print(found, { ...options, rows, empty });
  });
}

/** @param order its number or its id */
export function retrySaga(order: string, options: OperateOptions): Promise<void> {
  return withSagas(options, async (operations) => {
    const done = await operations.retrySaga(await findOrder(operations, order));
    if (!done) throw new UserError(`The placement of order ${order} is over; there is nothing to try again.`);
    print({ retried: order }, { ...options, rows: [], empty: `Sent the pending commands of order ${order} again.` });
  });
}

/** @param order its number or its id */
export function resolveSaga(order: string, options: OperateOptions & { readonly note: string }): Promise<void> {
  return withSagas(options, async (operations) => {
    const done = await operations.resolveSaga(await findOrder(operations, order), options.note);
    if (!done) {
      throw new UserError(
        `The placement of order ${order} did not fail; only what has failed can be resolved by hand.`,
      );
    }
    print({ resolved: order }, { ...options, rows: [], empty: `Resolved for order ${order}.` });
  });
}

async function findOrder(operations: SagaAdmin, order: string): Promise<string> {
  const id = await operations.findPlacement(order);
  if (id === null) throw new UserError(`No saga placed an order with number or id ${order}.`);
  return id;
}
