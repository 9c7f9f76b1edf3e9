import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const PACKAGES = [
  ...['bus', 'consistency', 'events', 'postgres', 'server', 'subgraph', 'superstore'].map((name) => `shared/${name}`),
  'gateway',
  'cli',
  'subgraphs/users',
  'subgraphs/products',
  'subgraphs/orders',
];

/**
 * Copies the project as a clone of it would be, with links to what it depends on, and what is built already.
 *
 * @param built false leaves out what is built
 * @returns its folder
 */
export function copyProject(name: string, { built = true } = {}): string {
  const copy = mkdtempSync(join(tmpdir(), `tributary-${name}-`));
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: PROJECT,
  });
  const files = listed.toString().split('\0').filter(Boolean);
  for (const file of files.filter((each) => existsSync(join(PROJECT, each))))
    cpSync(join(PROJECT, file), join(copy, file));
  for (const folder of built ? [...PACKAGES.map((each) => `${each}/dist`), '.turbo/cache'] : [])
    if (existsSync(join(PROJECT, folder))) cpSync(join(PROJECT, folder), join(copy, folder), { recursive: true });
  const modules = join(PROJECT, 'node_modules');
  mkdirSync(join(copy, 'node_modules/@tributary'), { recursive: true });
  for (const entry of readdirSync(modules).filter((each) => each !== '@tributary'))
    symlinkSync(join(modules, entry), join(copy, 'node_modules', entry));
  for (const folder of PACKAGES)
    symlinkSync(join(copy, folder), join(copy, 'node_modules/@tributary', folder.split('/').at(-1) as string));
  return copy;
}
