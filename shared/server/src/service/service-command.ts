import cluster from 'node:cluster';
import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import type { z } from 'zod';
import type { serveSettings } from '../config/serve-settings.js';
import { describeVariables, misspelledVariables } from '../config/variables.js';
import { refuseUnusableAddress } from '../process/listen-address.js';
import { settingOf, startProblem } from '../process/start-problem.js';
import type { Served } from './run-service.js';

// Loaded before the settings are checked: import nothing here that takes long.

/** A command that a program's entry file understands. */
export interface Command {
  readonly description: string;
  readonly run: () => Promise<void>;
}

/** Runs the command that the command line names; `serve` when it names none. `--help` lists them, and the settings; `--version` prints it. */
export async function runCommand(
  program: string,
  settings: z.ZodRawShape,
  commands: Readonly<Record<string, Command>>,
): Promise<void> {
  const [name = 'serve', ...rest] = process.argv.slice(2);
  if (name === '--help' || name === '-h') {
    process.stdout.write(usage(program, commands, settings));
    return;
  }
  if (name === '--version' || name === '-V') {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    process.stdout.write(`${version}\n`);
    return;
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command || rest.length > 0) {
    const given = JSON.stringify([name, ...rest].join(' '));
    process.stderr.write(
      `${program}: expected one command of ${Object.keys(commands).join(', ')}; got ${given}. --help describes them.\n`,
    );
    process.exitCode = 2;
    return;
  }
  // The primary process has warned already; its workers have the same variables.
  for (const { given, meant } of cluster.isWorker ? [] : misspelledVariables(settings, process.env)) {
    process.stderr.write(`${program}: warning: ${given} is not a setting; did you mean ${meant}?\n`);
  }
  try {
    await command.run();
  } catch (error) {
    const trace = () => (error instanceof Error ? error.stack : error);
    process.stderr.write(`${program}: ${startProblem(error, program) ?? trace()}\n`);
    process.exit(1);
  }
}

/**
 * The command that serves. The code is loaded after the checks.
 *
 * @param load loads what is served
 * @param check throws a ConfigurationError for what else would make the start fail
 */
export function serveCommand<Config extends z.infer<z.ZodObject<typeof serveSettings>>>(
  program: string,
  readConfig: () => Config,
  load: () => Promise<(config: Config, logger: Logger) => Promise<Served>>,
  check: (config: Config) => Promise<void> = async () => undefined,
): Command {
  return {
    description: 'answer GraphQL requests (the default)',
    async run() {
      const config = readConfig();
      // One of several processes shares the port with others that serve already.
      if (!cluster.isWorker) {
        const port = (config as Readonly<Record<string, unknown>>)[settingOf(program, 'PORT')];
        await Promise.all([check(config), refuseUnusableAddress(config.HOST, Number(port))]);
      }
      const { serve } = await import('./run-service.js');
      // Not loaded by a process that only starts others.
      await serve(program, config, async (logger) => (await load())(config, logger));
    },
  };
}

function usage(program: string, commands: Readonly<Record<string, Command>>, settings: z.ZodRawShape): string {
  const lines = Object.entries(commands).map(([name, { description }]) => `  ${name.padEnd(10)}${description}`);
  const variables = describeVariables(settings).map(({ name, preset, required, description }) => {
    const value = required ? ' (required)' : preset === null ? '' : ` (${preset || 'empty'})`;
    return `  ${name}${value}\n      ${description}`;
  });
  return `Usage: ${program} [COMMAND]

The program ${program} of Tributary, configured by environment variables.

Commands:
${lines.join('\n')}

Environment. NAME_FILE is the path of a file with the value. Durations have a unit: 250ms, 5s, 2m, 1h, 30d.
${variables.join('\n')}
`;
}
