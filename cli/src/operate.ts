import { OrdersOperations } from '@tributary/orders/operations';
import { type Command, InvalidArgumentError, type Option } from 'commander';
import { z } from 'zod';
import { print } from './output.js';
import { type Connections, findConnections } from './running-stack.js';
import { UserError } from './user-error.js';

interface OperateOptions {
  readonly dataDir: string;
  readonly json: boolean;
}

const copiesSchema = z.record(z.string(), z.object({ position: z.number(), head: z.number(), lagSeconds: z.number() }));

/** Adds the commands for operators: what they print is a table, or with `--json` JSON. */
export function addOperatorCommands(program: Command, dataDir: () => Option): void {
  const operator = (command: Command) =>
    command.addOption(dataDir()).option('--json', 'print JSON instead of a table', false);

  operator(program.command('lag').description('How far each copy is behind its owner.')).action(showLag);

  const letters = program
    .command('dead-letters')
    .description('Events that could not be applied, and those that wait behind them.');
  operator(letters.command('list').description('List them.')).action((options: OperateOptions) =>
    withOperations(options, async (operations) => {
      const found = await operations.deadLetters();
      const rows = found.map((letter) => ({
        source: letter.source,
        position: letter.position,
        type: letter.event.type,
        aggregate: `${letter.aggregate_type} ${letter.aggregate_id}`,
        attempts: letter.attempts,
        error: letter.error,
      }));
      print(found, { ...options, rows, empty: 'There are no dead letters.' });
    }),
  );
  operator(letters.command('retry').description('Apply them again, each aggregate in order.')).action(
    (options: OperateOptions) =>
      withOperations(options, async (operations) => {
        const found = await operations.retryDeadLetters();
        const rows = found.map(({ source, aggregateType, aggregateId, applied, error }) => ({
          source,
          aggregate: `${aggregateType} ${aggregateId}`,
          applied,
          'still failing': error,
        }));
        print(found, { ...options, rows, empty: 'There are no dead letters.' });
        if (found.some(({ error }) => error !== null)) process.exitCode = 1;
      }),
  );
  operator(
    letters
      .command('discard')
      .description('Give one up: it will never take effect.')
      .argument('<source>', 'the service whose event it is')
      .argument('<position>', 'its position in the ledger', parsePosition),
  ).action((source: string, position: number, options: OperateOptions) =>
    withOperations(options, async (operations) => {
      if (!(await operations.discardDeadLetter(source, position))) {
        throw new UserError(`There is no dead letter of ${source} at position ${position}.`);
      }
      print({ discarded: { source, position } }, { ...options, rows: [], empty: `Discarded ${source} ${position}.` });
    }),
  );

  operator(
    program
      .command('rebuild')
      .description('Make a copy or a read model anew from its events, while the old one is served.')
      .argument('<model>', OrdersOperations.MODELS.join(', '), parseModel),
  ).action((model: (typeof OrdersOperations.MODELS)[number], options: OperateOptions) =>
    withOperations(options, async (operations) => {
      const events = await operations.rebuild(model);
      print({ model, events }, { ...options, rows: [], empty: `Rebuilt ${model} from ${events} events.` });
    }),
  );

  operator(
    program
      .command('verify')
      .description('Compare every copy with its owner.')
      .option('--repair', 'mend what differs', false),
  ).action((options: OperateOptions & { repair: boolean }) =>
    withOperations(options, async (operations) => {
      const found = await operations.verify(options.repair);
      const rows = found.map(({ copy, differences, repaired }) => ({
        copy,
        differences: differences.length,
        repaired,
        ids: differences
          .slice(0, 5)
          .map(({ id }) => id)
          .join(' '),
      }));
      print(found, { ...options, rows, empty: '' });
      if (found.some(({ differences, repaired }) => differences.length > repaired)) process.exitCode = 1;
    }),
  );
}

async function showLag(options: OperateOptions): Promise<void> {
  const { ORDERS_URL } = findConnections(options.dataDir);
  const response = await fetch(`${ORDERS_URL}/copies`, { signal: AbortSignal.timeout(5000) }).catch((error: Error) => {
    throw new UserError(
      `The orders service at ${ORDERS_URL} cannot be reached (${(error.cause as Error)?.message ?? error.message}).`,
    );
  });
  const copies = copiesSchema.parse(await response.json());
  const rows = Object.entries(copies).map(([copy, { position, head, lagSeconds }]) => ({
    copy,
    position,
    head,
    behind: Math.max(0, head - position),
    'lag (s)': lagSeconds.toFixed(1),
  }));
  print(copies, { ...options, rows, empty: 'There are no copies.' });
}

async function withOperations(
  options: OperateOptions,
  run: (operations: OrdersOperations) => Promise<void>,
): Promise<void> {
  const connections: Connections = findConnections(options.dataDir);
  const operations = new OrdersOperations(connections.ORDERS_DATABASE_URL, connections);
  try {
    await run(operations);
  } finally {
    await operations.close();
  }
}

function parsePosition(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('It wants a whole number above 0.');
  return Number(text);
}

function parseModel(text: string): string {
  if ((OrdersOperations.MODELS as readonly string[]).includes(text)) return text;
  throw new InvalidArgumentError(`It wants one of ${OrdersOperations.MODELS.join(', ')}.`);
}
