import type { Command } from 'commander';
import { type OperateOptions, type Operator, withOrders } from './operations.js';
import { print } from './output.js';
import { UserError } from './user-error.js';

/** Adds `sagas list|retry|resolve`. */
export function addSagaCommands(program: Command, operator: Operator): void {
  const sagas = program.command('sagas').description('Orders whose placement or cancellation is not over.');

  operator(
    sagas
      .command('list')
      .description('List them, the oldest first.')
      .option('--failed', 'only those that wait for an operator', false),
  ).action((options: OperateOptions & { failed: boolean }) =>
    withOrders(options, async (operations) => {
      const found = (await operations.sagas()).filter(({ status }) => !options.failed || status === 'FAILED');
      const rows = found.map(({ order_id: order, status, steps, failure, started_at: startedAt }) => {
        const waiting = steps.filter(({ outcome }) => outcome === 'PENDING' || outcome === 'FAILED');
        return {
          order,
          status,
          'waits for': waiting.map(({ name, attempts }) => `${name} (${attempts})`).join(', '),
          'age (s)': Math.round((Date.now() - startedAt.getTime()) / 1000),
          failure,
        };
      });
      const empty = options.failed ? 'No placement waits for an operator.' : 'Every placement is over.';
      print(found, { ...options, rows, empty });
    }),
  );

  operator(
    sagas
      .command('retry')
      .description('Ask the other services once more, now.')
      .argument('<order>', 'the id of the order'),
  ).action((orderId: string, options: OperateOptions) =>
    withOrders(options, async (operations) => {
      const done = await operations.retrySaga(orderId);
      refuse(orderId, done, 'is over; there is nothing to try again');
      print({ retried: orderId }, { ...options, rows: [], empty: `Asked again for order ${orderId}.` });
    }),
  );

  operator(
    sagas
      .command('resolve')
      .description('Say that what failed has been seen to by hand; the rest goes on.')
      .argument('<order>', 'the id of the order')
      .requiredOption('--note <words>', 'what was done, for the record'),
  ).action((orderId: string, options: OperateOptions & { note: string }) =>
    withOrders(options, async (operations) => {
      const done = await operations.resolveSaga(orderId, options.note);
      refuse(orderId, done, 'did not fail; only what has failed can be resolved by hand');
      print({ resolved: orderId }, { ...options, rows: [], empty: `Resolved for order ${orderId}.` });
    }),
  );
}

function refuse(orderId: string, done: boolean | null, why: string): void {
  if (done === null) throw new UserError(`No saga placed an order with id ${orderId}.`);
  if (!done) throw new UserError(`The placement of order ${orderId} ${why}.`);
}
