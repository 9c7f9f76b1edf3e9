import { OrdersOperations } from '@tributary/orders/operations';
import { IncompleteAuditError, inOneLine } from '@tributary/shared/events/audit';
import type { Gap } from '@tributary/shared/events/gap';
import { type Command, InvalidArgumentError, type Option } from 'commander';
import { z } from 'zod';
import { addDeadLetterCommands } from './dead-letters.js';
import { type OperateOptions, withConsumers, withOrders } from './operations.js';
import { print } from './output.js';
import { findConnections } from './running-stack.js';
import { addSagaCommands } from './sagas.js';
import { UserError } from './user-error.js';

const copiesSchema = z.record(z.string(), z.object({ position: z.number(), head: z.number(), lagSeconds: z.number() }));

/** Adds the commands for operators: what they print is a table, or with `--json` JSON. */
export function addOperatorCommands(program: Command, dataDir: () => Option): void {
  const operator = (command: Command) =>
    command.addOption(dataDir()).option('--json', 'print JSON instead of a table', false);

  operator(program.command('lag').description('How far each copy is behind its owner.')).action(showLag);

  addDeadLetterCommands(program, operator);
  addSagaCommands(program, operator);

  operator(
    program
      .command('rebuild')
      .description('Make a copy or a read model anew from its events, while the old one is served.')
      .argument('<model>', OrdersOperations.MODELS.join(', '), parseModel),
  ).action((model: (typeof OrdersOperations.MODELS)[number], options: OperateOptions) =>
    withOrders(options, async (operations) => {
      const events = await operations.rebuild(model);
      print({ model, events }, { ...options, rows: [], empty: `Rebuilt ${model} from ${events} events.` });
    }),
  );

  operator(
    program
      .command('verify')
      .description('Compare every copy with its owner, and check money and stock across the services.')
      .option(
        '--repair',
        'repair copies that differ, and let services go on after events that were deleted unread; money and stock are never changed',
        false,
      ),
  ).action((options: OperateOptions & { repair: boolean }) =>
    withOrders(options, async (operations) => {
      const failures: string[] = [];
      const others = await checkOtherConsumers(options, failures);
      const found = await operations.verify(options.repair, (copy, error) => {
        failures.push(`the copy of ${copy} could not be compared: ${inOneLine(error)}`);
      });
      const rows = found.map(({ copy, differences, repaired }) => ({
        copy,
        differences: differences.length,
        repaired,
        ids: differences
          .slice(0, 5)
          .map(({ id }) => id)
          .join(' '),
      }));
      const gaps = [...others, ...found.flatMap(({ gap }) => gap ?? [])];
      if (!options.repair) failures.push(...gaps.map((gap) => `${describeGap(gap)} "verify --repair" lets it go on.`));
      // Printed at once: the audit that follows may take minutes.
      if (!options.json && rows.length > 0) print(found, { ...options, rows, empty: '' });
      if (!options.json && options.repair) for (const gap of gaps) process.stdout.write(describeSkip(gap));
      const { findings, failures: unchecked } = await auditWith(operations);
      failures.push(...unchecked.map((failure) => `money and stock could not be checked in full: ${failure}`));
      if (options.json) {
        print([...found, ...others.map((gap) => ({ gap })), { check: 'money and stock', findings, failures }], {
          ...options,
          rows: [],
          empty: '',
        });
      } else {
        const lines = findings.map(({ service, check, id, problem }) => ({ service, check, id, problem }));
        if (lines.length > 0 || unchecked.length === 0) {
          print(findings, { ...options, rows: lines, empty: 'Money and stock agree.' });
        }
      }
      for (const failure of failures) process.stderr.write(`${failure}\n`);
      const differs = found.some(({ differences, repaired }) => differences.length > repaired);
      if (differs || findings.length > 0 || failures.length > 0) process.exitCode = 1;
    }),
  );
}

/** Whether users and products can read on in the event log of orders; with `repair`, lets them go on where they cannot. */
async function checkOtherConsumers(
  options: OperateOptions & { readonly repair: boolean },
  failures: string[],
): Promise<Gap[]> {
  const gaps: Gap[] = [];
  await withConsumers(options, async (consumers) => {
    for (const consumer of consumers.filter((each) => each.consumer !== 'orders')) {
      for (const source of consumer.sources) {
        try {
          const gap = await consumer.findGap(source);
          if (gap && options.repair) await consumer.skipGap(gap);
          if (gap) gaps.push(gap);
        } catch (error) {
          failures.push(`it could not be checked how far ${consumer.consumer} has read ${source}: ${inOneLine(error)}`);
        }
      }
    }
  });
  return gaps;
}

const describeGap = ({ consumer, source, after }: Gap) =>
  `${consumer} has stopped at event ${after} of ${source}: ${source} has deleted what follows (LEDGER_RETENTION).`;

/** What an operator has to know of events that a service will never see. */
function describeSkip(gap: Gap): string {
  const missing = {
    orders: `Answers to placements may have been among the deleted events. Orders asks again for what is overdue; "sagas list --failed" shows what waits for you, "sagas retry" asks once more.`,
    users: 'Charges and refunds may have been among the deleted events. Orders asks again for what is overdue.',
    products:
      'Reservations may have been among the deleted events; orders asks again for what is overdue. Sales that were among them are missing in the order of best-sellers.',
  }[gap.consumer];
  return `${describeGap(gap)} It goes on after event ${gap.upTo}. ${missing}\n`;
}

/** Audits, and keeps what was found when a part of it fails. */
async function auditWith(operations: OrdersOperations) {
  try {
    return { findings: await operations.audit(), failures: [] };
  } catch (error) {
    if (error instanceof IncompleteAuditError) return error;
    return { findings: [], failures: [inOneLine(error)] };
  }
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

function parseModel(text: string): string {
  if ((OrdersOperations.MODELS as readonly string[]).includes(text)) return text;
  throw new InvalidArgumentError(`It wants one of ${OrdersOperations.MODELS.join(', ')}.`);
}
