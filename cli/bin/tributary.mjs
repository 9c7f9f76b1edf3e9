#!/usr/bin/env node
// The commands, their arguments and options. It loads a command's code only to run it, so that help answers at once, also in a
// clone that was never built.
// @ts-check
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import * as module from 'node:module';
import { build, isBuilt } from './build.mjs';
import { portKeyOf, readFolderNames, readServiceFolders, variableOf } from './service-folders.mjs';
import { missingStack } from './stack.mjs';

/** @import { Command as CommanderCommand } from 'commander' */
/** @import { StartOptions } from '../dist/start.js' */
/** @import { OperateOptions } from '../dist/operations.js' */
/** @import { PlanOptions } from '../dist/plan.js' */

const { Command, Option } = await import('commander').catch(() => {
  process.stderr.write('The dependencies of Tributary are not installed: run "npm ci" first.\n');
  return process.exit(1);
});

// Node 22.8 and later keep compiled code for the next start.
if ('enableCompileCache' in module) /** @type {{ enableCompileCache(): void }} */ (module).enableCompileCache();

// When nothing reads the output any more, as when the terminal is closed, a command that handles SIGHUP stops in order.
let isClosed = false;
for (const output of [process.stdout, process.stderr]) {
  output.on('error', () => {
    if (isClosed) return;
    isClosed = true;
    if (!process.emit('SIGHUP')) process.exit(1);
  });
}

/** Errors that you can fix: the message is complete, and a stack trace would hide it. */
const PLAIN_ERRORS = new Set([
  'UserError',
  'ConfigurationError',
  'ImportConflictError',
  'AlreadyRunningError',
  'EventsDeletedError',
]);

const services = readServiceFolders();
/** A copy or read models are rebuilt by the name of a service. */
const serviceNames = readFolderNames();
const LOG_LEVELS = ['error', 'warn', 'info', 'debug'];

/** Commands that need a current build, because they write. The others run on any build. */
const BUILDS = new Set(['start', 'dev', 'rebuild', 'retry', 'discard', 'resolve']);

/** Commands that look after a running stack. @type {Set<CommanderCommand>} */
const operators = new Set();

// An empty variable counts as not set; to commander it would be a value.
for (const [name, value] of Object.entries(process.env)) if (value === '') delete process.env[name];

/** Problems of options. Their defaults replace them, so that everything else is checked as well. @type {string[]} */
const problems = [];

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));

/** The options of the command that runs. @type {Record<string, unknown>} */
let given = {};

const program = new Command('tributary')
  .description('Commands to run and to look after Tributary.')
  .version(version)
  .helpCommand(false)
  .showHelpAfterError('("--help" lists arguments and options)')
  .hook('preAction', async (_, command) => {
    given = command.opts();
    if (problems.length > 0) {
      // `start` and `dev` add what else is wrong, unless that would take a build.
      if (['start', 'dev'].includes(command.name()) && isBuilt()) return;
      throw userError(`Invalid settings:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
    }
    const { dataDir, supergraph } = command.opts();
    const problem = operators.has(command) && supergraph === undefined ? missingStack(dataDir) : null;
    if (problem !== null) throw userError(command === plan ? `${problem}\n${WITHOUT_STACK}` : problem);
    const builds = BUILDS.has(command.name()) || command.opts().repair;
    if (builds || (command !== help && !isBuilt())) await checkBuild();
  });

const dataDir = () =>
  valueOption('--data-dir <folder>', 'where the data is kept', 'DATA_DIR', '.data', 'a folder', (text) => text);

/** @param {string} name @param {string} description */
function stackCommand(name, description) {
  const command = program.command(name).description(description).addOption(dataDir());
  for (const { name, port } of [{ name: 'gateway', port: 4000 }, ...services, { name: 'postgres', port: 0 }])
    command.addOption(portOption(name, port));
  return command
    .addOption(
      valueOption(
        '--scale <n>',
        'size of the data: 1 is 5,009 orders, 0.1 a tenth of them, 10 ten times as many',
        'SUPERSTORE_SCALE',
        1,
        'a share between 0 and 1, or a whole number',
        (text) => Number(text) > 0 && (Number(text) <= 1 || Number.isInteger(Number(text))) && Number(text),
      ),
    )
    .addOption(
      new Option('--fresh', 'delete the data first and import anew; other files in the folder stay').default(false),
    )
    .addOption(
      valueOption(
        '--log-level <level>',
        `what the services log: ${LOG_LEVELS.join(', ')}`,
        'LOG_LEVEL',
        'warn',
        `one of ${LOG_LEVELS.join(', ')}`,
        (text) => LOG_LEVELS.includes(text) && text,
      ),
    );
}

stackCommand('start', 'Start PostgreSQL, the services and the gateway, with the Superstore data.').action(
  async (/** @type {StartOptions} */ options) => (await import('../dist/start.js')).runStart(options, problems),
);

stackCommand('dev', 'The same, each part in a process of its own that restarts when its code changes.').action(
  async (/** @type {StartOptions} */ options) => (await import('../dist/dev.js')).runDev(options, problems),
);

program
  .command('token')
  .description('Print a bearer token for a user of the local stack, for "{ me { name } }".')
  .argument('<user-id>', 'for instance CG-12520')
  .addOption(dataDir())
  .action(async (/** @type {string} */ userId, /** @type {{ dataDir: string }} */ options) =>
    (await import('../dist/token.js')).printToken(userId, options.dataDir),
  );

operator(program, 'lag', 'How far each consumer of events is behind their source.').action(
  async (/** @type {OperateOptions} */ options) => (await import('../dist/lag.js')).showLag(options),
);

const letters = program
  .command('dead-letters')
  .description('Events that a service could not apply, and those that wait behind them.');

operator(letters, 'list', 'List them.').action(async (/** @type {OperateOptions} */ options) =>
  (await import('../dist/dead-letters.js')).listDeadLetters(options),
);

operator(letters, 'retry', 'Apply them again, each aggregate in order.').action(
  async (/** @type {OperateOptions} */ options) => (await import('../dist/dead-letters.js')).retryDeadLetters(options),
);

operator(letters, 'discard', 'Discard one: it will never take effect.')
  .argument('<consumer>', 'the service that could not apply it')
  .argument('<source>', 'the service whose event it is')
  .argument('<position>', 'its position in the event log', parsePosition)
  .action(
    async (
      /** @type {string} */ consumer,
      /** @type {string} */ source,
      /** @type {number} */ position,
      /** @type {OperateOptions} */ options,
    ) => (await import('../dist/dead-letters.js')).discardDeadLetter(consumer, source, position, options),
  );

const sagas = program.command('sagas').description('Orders whose placement or cancellation is not over.');

operator(sagas, 'list', 'List them, the oldest first.')
  .option('--failed', 'only those that wait for an operator', false)
  .action(async (/** @type {OperateOptions & { failed: boolean }} */ options) =>
    (await import('../dist/sagas.js')).listSagas(options),
  );

operator(sagas, 'retry', 'Send the pending commands to the other services again, now.')
  .argument('<order>', 'the number or the id of the order')
  .action(async (/** @type {string} */ order, /** @type {OperateOptions} */ options) =>
    (await import('../dist/sagas.js')).retrySaga(order, options),
  );

operator(sagas, 'resolve', 'Record that a failed step was resolved by hand; the other steps continue.')
  .argument('<order>', 'the number or the id of the order')
  .requiredOption('--note <words>', 'what was done, for the record')
  .action(async (/** @type {string} */ order, /** @type {OperateOptions & { note: string }} */ options) =>
    (await import('../dist/sagas.js')).resolveSaga(order, options),
  );

operator(program, 'rebuild', 'Rebuild a copy or a read model from its events, while the old one is served.')
  .argument('<model>', `${serviceNames.join(', ')}: a copy of that service's data, or its read models`, (text) => {
    // Where several services have a copy, it is named after them, too: "orders/users".
    oneOf(serviceNames, 'model', text.slice(text.indexOf('/') + 1));
    return text;
  })
  .action(async (/** @type {string} */ model, /** @type {OperateOptions} */ options) =>
    (await import('../dist/rebuild.js')).rebuild(model, options),
  );

operator(program, 'verify', 'Compare every copy with its owner, and check money and stock across the services.')
  .option(
    '--repair',
    'repair copies that differ, and let services continue after events that were deleted unread; money and stock are never changed',
    false,
  )
  .action(async (/** @type {OperateOptions & { repair: boolean }} */ options) =>
    (await import('../dist/verify.js')).verify(options),
  );

const WITHOUT_STACK = '"plan" needs none with --supergraph and the file of a composed supergraph.';
const plan = operator(
  program,
  'plan',
  'How the gateway would execute an operation: its plan and its fetches. Nothing is executed.',
)
  .argument('<file>', 'with the operation (GraphQL); "-" reads standard input')
  .option('--supergraph <file>', 'a composed supergraph, in place of that of the running stack')
  .addOption(
    checkedOption(
      '--planner <name>',
      'force a planner: native or apollo',
      'native or apollo',
      (text) => ['native', 'apollo'].includes(text) && text,
    ),
  )
  .option('--operation <name>', 'which one, when the file has several')
  .addOption(
    checkedOption('--variables <json>', 'values of the variables in @skip and @include', 'a JSON object', parseObject),
  )
  .action(async (/** @type {string} */ file, /** @type {PlanOptions} */ options) =>
    (await import('../dist/plan.js')).showPlan(file, options),
  );

const help = program
  .command('help')
  .description('Display help for a command.')
  .argument('[command...]')
  .action((/** @type {string[]} */ names) => {
    /** @type {CommanderCommand} */
    let command = program;
    for (const name of names) {
      const next = command.commands.find((each) => each.name() === name);
      command = next ?? program.error(`error: unknown command '${names.join(' ')}'`);
    }
    command.help();
  });

try {
  await program.parseAsync();
} catch (error) {
  // The build is one of an older release.
  if (!process.env.TRIBUTARY_BUILT && /^Cannot find module .*\/dist\//.test(String(Object(error).message))) {
    await checkBuild();
    const env = { ...process.env, TRIBUTARY_BUILT: '1' };
    process.exit(spawnSync(process.execPath, process.argv.slice(1), { stdio: 'inherit', env }).status ?? 1);
  }
  process.stderr.write(`${await describeError(error)}\n`);
  process.exit(1);
}

/** @param {unknown} error @returns {Promise<unknown>} a plain message for a problem that you can fix, else a stack trace */
async function describeError(error) {
  if (!(error instanceof Error)) return error;
  if (PLAIN_ERRORS.has(error.name) || error instanceof RangeError) return error.message;
  const { syscall, port } = /** @type {NodeJS.ErrnoException & { port?: number }} */ (error);
  if (syscall !== 'listen') return error.stack;
  // Taken since the ports were checked.
  const names = ['postgres', ...services.map(({ name }) => name)];
  const { startProblem } = await import('@tributary/server');
  return startProblem(error, names.find((name) => given[portKeyOf(name)] === port) ?? 'gateway') ?? error.stack;
}

/**
 * A command for operators: what it prints is a table or, with `--json`, JSON.
 *
 * @param {CommanderCommand} parent @param {string} name @param {string} description
 */
function operator(parent, name, description) {
  const command = parent
    .command(name)
    .description(description)
    .addOption(dataDir())
    .option('--json', 'print JSON instead of a table', false);
  operators.add(command);
  return command;
}

async function checkBuild() {
  if (!(await build())) process.exit(1);
}

/** @param {string} program @param {number | undefined} preset undefined: the port in the service's definition, which is not loaded yet */
function portOption(program, preset) {
  const meaning = preset === 0 ? `port of ${program}; 0 picks a free one` : `port of ${program} (0: a free one)`;
  return valueOption(
    `--${program}-port <port>`,
    meaning,
    variableOf(program, 'PORT'),
    preset,
    'a port, 0-65535',
    (text) => /^\d{1,5}$/.test(text) && Number(text) <= 65_535 && Number(text),
  );
}

/**
 * An option whose value is checked, and which a variable may give, too.
 *
 * @param {string} flags @param {string} meaning @param {string} variable @param {number | string | undefined} preset
 * @param {string} expected for the message @param {(text: string) => number | string | false} parse false or '' for a wrong one
 */
function valueOption(flags, meaning, variable, preset, expected, parse) {
  return new Option(flags, meaning)
    .env(variable)
    .default(preset)
    .argParser((text) => {
      const value = parse(text);
      if (value !== false && value !== '') return value;
      const given = process.env[variable] === text ? `${variable} (${flags.split(' ')[0]})` : flags.split(' ')[0];
      problems.push(`${given}: expected ${expected}; got "${text}"`);
      return preset ?? 0;
    });
}

/**
 * An option whose value is checked.
 *
 * @template T
 * @param {string} flags @param {string} meaning @param {string} expected for the message
 * @param {(text: string) => T | false} parse false for a wrong one
 */
function checkedOption(flags, meaning, expected, parse) {
  return new Option(flags, meaning).argParser((text) => {
    const value = parse(text);
    if (value === false) problems.push(`${flags.split(' ')[0]}: expected ${expected}; got "${text}"`);
    return value;
  });
}

/** @param {string} text @returns {Record<string, unknown> | false} */
function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) && value;
  } catch {
    return false;
  }
}

/** @param {readonly string[]} choices @param {string} name @param {string} text */
function oneOf(choices, name, text) {
  if (choices.includes(text)) return text;
  throw userError(`${name}: expected one of ${choices.join(', ')}; got "${text}"`);
}

/** @param {string} message */
function userError(message) {
  return Object.assign(new Error(message), { name: 'UserError' });
}

/** @param {string} text */
function parsePosition(text) {
  if (/^[1-9]\d{0,15}$/.test(text)) return Number(text);
  throw userError(`position: expected a whole number above 0; got "${text}"`);
}
