import { type Command, readEnvironment, setting, settingOf } from '@tributary/server';
import type { z } from 'zod';
import type { SetUpRequest } from './set-up-database.js';

/** What the command that prepares a database reads from its environment, besides the service's own. */
export const setUpSettings = {
  SUPERSTORE_SCALE: setting(
    '0, a fraction up to 1, or a whole number',
    (text) => {
      const scale = /^\d{1,6}(\.\d{1,9})?$/.test(text) ? Number(text) : Number.NaN;
      return scale <= 1 || Number.isInteger(scale) ? scale : undefined;
    },
    '1',
  ).describe('Size of the history that `setup` imports: 1 is 5,009 orders, 0 imports nothing.'),
};

/**
 * The command that prepares a service's database: schema, and the history that SUPERSTORE_SCALE asks for.
 *
 * @param load loads what prepares it
 */
export function setUpCommand(
  service: string,
  settings: z.ZodRawShape,
  load: () => Promise<(request: SetUpRequest) => Promise<boolean>>,
): Command {
  return databaseCommand(
    service,
    { ...settings, ...setUpSettings },
    {
      description: 'update the database to the newest schema and import the history (SUPERSTORE_SCALE)',
      async run(databaseUrl) {
        const { SUPERSTORE_SCALE: scale } = readEnvironment(setUpSettings);
        const [setUp, { readSuperstore }] = await Promise.all([load(), import('@tributary/superstore')]);
        const imported = await setUp({ databaseUrl, scale, readHistory: () => readSuperstore(scale) });
        return imported ? `Imported the history at scale ${scale}.` : 'The database is up to date.';
      },
    },
  );
}

/**
 * A command that works on a service's database and then ends.
 *
 * @param settings the service's, with `<SERVICE>_DATABASE_URL`; all are checked before it runs
 * @param command.run @returns what it prints at its end
 */
export function databaseCommand(
  service: string,
  settings: z.ZodRawShape,
  { description, run }: { readonly description: string; readonly run: (databaseUrl: string) => Promise<string> },
): Command {
  return {
    description,
    async run() {
      const variable = settingOf(service, 'DATABASE_URL');
      const databaseUrl = readEnvironment(settings)[variable] as string;
      const { databaseProblem } = await import('@tributary/postgres');
      try {
        process.stdout.write(`${await run(databaseUrl)}\n`);
      } catch (error) {
        throw databaseProblem(error, variable, databaseUrl) ?? error;
      }
    },
  };
}
