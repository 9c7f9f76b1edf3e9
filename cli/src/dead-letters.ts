import { type Command, InvalidArgumentError } from 'commander';
import { type OperateOptions, type Operator, withConsumers } from './operations.js';
import { print } from './output.js';
import { UserError } from './user-error.js';

const NONE = 'There are no dead letters.';

/** Adds `dead-letters list|retry|discard`. */
export function addDeadLetterCommands(program: Command, operator: Operator): void {
  const letters = program
    .command('dead-letters')
    .description('Events that a service could not apply, and those that wait behind them.');

  operator(letters.command('list').description('List them.')).action((options: OperateOptions) =>
    withConsumers(options, async (consumers) => {
      const found = (await Promise.all(consumers.map((each) => each.deadLetters()))).flat();
      const rows = found.map((letter) => ({
        consumer: letter.consumer,
        source: letter.source,
        position: letter.position,
        type: letter.event.type,
        aggregate: `${letter.aggregate_type} ${letter.aggregate_id}`,
        attempts: letter.attempts,
        error: letter.error,
      }));
      print(found, { ...options, rows, empty: NONE });
    }),
  );

  operator(letters.command('retry').description('Apply them again, each aggregate in order.')).action(
    (options: OperateOptions) =>
      withConsumers(options, async (consumers) => {
        const found = [];
        for (const each of consumers) {
          for (const result of await each.retryDeadLetters()) found.push({ consumer: each.consumer, ...result });
        }
        const rows = found.map(({ consumer, source, aggregateType, aggregateId, applied, error }) => ({
          consumer,
          source,
          aggregate: `${aggregateType} ${aggregateId}`,
          applied,
          'still failing': error,
        }));
        print(found, { ...options, rows, empty: NONE });
        if (found.some(({ error }) => error !== null)) process.exitCode = 1;
      }),
  );

  operator(
    letters
      .command('discard')
      .description('Give one up: it will never take effect.')
      .argument('<consumer>', 'the service that could not apply it')
      .argument('<source>', 'the service whose event it is')
      .argument('<position>', 'its position in the ledger', parsePosition),
  ).action((consumer: string, source: string, position: number, options: OperateOptions) =>
    withConsumers(options, async (consumers) => {
      const owner = consumers.find((each) => each.consumer === consumer);
      if (!(await owner?.discardDeadLetter(source, position))) {
        throw new UserError(`${consumer} has no dead letter of ${source} at position ${position}.`);
      }
      const empty = `Discarded ${source} ${position} of ${consumer}.`;
      print({ discarded: { consumer, source, position } }, { ...options, rows: [], empty });
    }),
  );
}

function parsePosition(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('It wants a whole number above 0.');
  return Number(text);
}
