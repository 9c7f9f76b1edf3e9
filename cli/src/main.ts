import { LedgerGoneError } from '@tributary/shared/events/outbox';
import { signToken } from '@tributary/shared/http/viewer';
import { AlreadyRunningError } from '@tributary/shared/postgres/exclusive';
import { ImportConflictError } from '@tributary/shared/postgres/import-once';
import { Command, InvalidArgumentError, Option } from 'commander';
import { readSecrets } from './data-folder.js';
import { runDev } from './dev.js';
import { addOperatorCommands } from './operate.js';
import { runStart, type StartOptions } from './start.js';
import { UserError } from './user-error.js';

const program = new Command('tributary')
  .description('Commands to run and to look after Tributary.')
  .showHelpAfterError()
  .helpCommand(false);

const dataDir = () => new Option('--data-dir <folder>', 'where the data is kept').env('DATA_DIR').default('.data');

function stackCommand(name: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .addOption(dataDir())
    .addOption(portOption('gateway', 4000))
    .addOption(portOption('users', 4001))
    .addOption(portOption('products', 4002))
    .addOption(portOption('orders', 4003))
    .addOption(portOption('postgres', 0))
    .addOption(
      new Option('--scale <n>', 'size of the data: 1 is 5,009 orders, 0.1 a tenth of them, 10 ten times as many')
        .env('SUPERSTORE_SCALE')
        .default(1)
        .argParser(parseScale),
    )
    .addOption(new Option('--fresh', 'delete the data folder first and import anew').default(false))
    .addOption(
      new Option('--log-level <level>', 'what the services log')
        .env('LOG_LEVEL')
        .choices(['error', 'warn', 'info', 'debug'])
        .default('warn'),
    );
}

stackCommand('start', 'Start PostgreSQL, the three services and the gateway, with the Superstore data.').action(
  (options: StartOptions) => runStart(options),
);

stackCommand('dev', 'The same, each part in a process of its own that restarts when its code changes.').action(
  (options: StartOptions) => runDev(options),
);

program
  .command('token')
  .description('Print a bearer token for a user of the local stack, for "{ me { name } }".')
  .argument('<user-id>', 'for instance CG-12520')
  .addOption(dataDir())
  .action(async (userId: string, options: { dataDir: string }) => {
    process.stdout.write(`${await signToken(readSecrets(options.dataDir).tokens, userId)}\n`);
  });

addOperatorCommands(program, dataDir);

try {
  await program.parseAsync();
} catch (error) {
  const plain = [UserError, ImportConflictError, AlreadyRunningError, LedgerGoneError, RangeError].some(
    (type) => error instanceof type,
  );
  process.stderr.write(`\n${plain ? (error as Error).message : error instanceof Error ? error.stack : error}\n`);
  process.exit(1);
}

function portOption(service: string, preset: number): Option {
  const meaning = preset === 0 ? `port of ${service}; 0 picks a free one` : `port of ${service} (0: a free one)`;
  return new Option(`--${service}-port <port>`, meaning)
    .env(`${service.toUpperCase()}_PORT`)
    .default(preset)
    .argParser(parsePort);
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new InvalidArgumentError('It wants 0 to 65535.');
  return port;
}

function parseScale(text: string): number {
  const scale = Number(text);
  if (!(scale > 0) || (scale > 1 && !Number.isInteger(scale))) {
    throw new InvalidArgumentError('It wants a share between 0 and 1, or a whole number.');
  }
  return scale;
}
