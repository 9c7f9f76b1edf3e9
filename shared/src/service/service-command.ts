import { z } from 'zod';
import { readEnvironment } from '../config/environment.js';
import { describeVariables } from '../config/variables.js';
import { readSuperstore } from '../superstore/superstore.js';
import { runOrExit } from './run-service.js';
import type { SetUpRequest } from './set-up-database.js';

/** A command that a service's entry file understands. */
export interface Command {
  readonly description: string;
  readonly run: () => Promise<void>;
}

/** Runs the command that the command line names; `serve` when it names none. `--help` lists them, and the settings. */
export async function runCommand(
  service: string,
  settings: z.ZodRawShape,
  commands: Readonly<Record<string, Command>>,
): Promise<void> {
  const [name = 'serve', ...rest] = process.argv.slice(2);
  if (name === '--help' || name === '-h') {
    process.stdout.write(usage(service, commands, settings));
    return;
  }
  const command = commands[name];
  if (!command || rest.length > 0) {
    process.stderr.write(
      `${service}: no such command: ${[name, ...rest].join(' ')}\n\n${usage(service, commands, {})}`,
    );
    process.exitCode = 2;
    return;
  }
  await runOrExit(service, command.run);
}

/** What the command that prepares a database reads from its environment, besides the service's own. */
export const setUpSettings = {
  SUPERSTORE_SCALE: z.coerce
    .number('wants a number')
    .min(0)
    .default(1)
    .describe('how much history `setup` imports: 1 is 5,009 orders; 0: none'),
};

/** The command that prepares a service's database: schema, and the history that SUPERSTORE_SCALE asks for. */
export function setUpCommand(setUp: (request: SetUpRequest) => Promise<boolean>, databaseUrl: () => string): Command {
  return {
    description:
      'bring the database to the newest schema and import the history (SUPERSTORE_SCALE, default 1; 0: none)',
    async run() {
      const { SUPERSTORE_SCALE: scale } = readEnvironment(setUpSettings);
      const imported = await setUp({ databaseUrl: databaseUrl(), scale, readHistory: () => readSuperstore(scale) });
      process.stdout.write(imported ? `Imported the history at scale ${scale}.\n` : 'The database is up to date.\n');
    },
  };
}

function usage(service: string, commands: Readonly<Record<string, Command>>, settings: z.ZodRawShape): string {
  const lines = Object.entries(commands).map(([name, { description }]) => `  ${name.padEnd(10)}${description}`);
  const variables = describeVariables(settings).map(({ name, preset, required, description }) => {
    const value = required ? ' (required)' : preset === null ? '' : ` (${preset || 'empty'})`;
    return `  ${name}${value}\n      ${description}`;
  });
  const environment =
    variables.length > 0 ? `\nEnvironment; NAME_FILE names a file with the value:\n${variables.join('\n')}\n` : '';
  return `The ${service} service, configured by environment variables.\n\nCommands:\n${lines.join('\n')}\n${environment}`;
}
