import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { PROJECT } from '../services.js';

const manifestSchema = z.object({ name: z.string() });

/** A package of the project that programs are built from. */
export interface Package {
  readonly name: string;
  /** Its path in the project: `subgraphs/products`. */
  readonly folder: string;
}

/** Reads the packages: the shared ones, the gateway and every service. */
export function readPackages(): Package[] {
  const foldersIn = (parent: string) => readdirSync(join(PROJECT, parent)).map((name) => `${parent}/${name}`);
  return [...foldersIn('shared'), 'gateway', ...foldersIn('subgraphs')].flatMap((folder) => {
    const manifest = join(PROJECT, folder, 'package.json');
    if (!existsSync(manifest)) return [];
    return [{ ...manifestSchema.parse(JSON.parse(readFileSync(manifest, 'utf8'))), folder }];
  });
}

/** A path of a module as code names it: of its own package, or of another one of the project. */
const MODULE = /['"](?:(\.{1,2}\/[^'"\n]+\.js)|(@tributary\/[\w-]+))['"]/g;

/**
 * Hashes the code that a program runs: the modules that its entry file imports, theirs, and so on, and the pages that it serves.
 *
 * @param folder the program's package
 */
export function hashProgram(folder: string, packages: readonly Package[]): string {
  const hash = createHash('sha256');
  const files = new Set([join(PROJECT, folder, 'dist/main.js'), ...filesIn(join(PROJECT, folder, 'dist/pages'))]);
  // A set is iterated over what is added meanwhile, too.
  for (const file of files) {
    const text = existsSync(file) ? readFileSync(file) : '';
    hash.update(file).update(text);
    if (!file.endsWith('.js') || file.includes('/pages/')) continue;
    for (const [, own, name] of text.toString().matchAll(MODULE)) {
      const other = packages.find((each) => each.name === name);
      if (own) files.add(join(dirname(file), own));
      else if (other) files.add(join(PROJECT, other.folder, 'dist', 'index.js'));
    }
  }
  return hash.digest('hex');
}

/** Hashes a service's migrations. */
export function hashMigrations(folder: string): string {
  const hash = createHash('sha256');
  const files = filesIn(join(PROJECT, folder, 'dist')).filter((path) => /\bmigrations\b.*\.js$/.test(path));
  for (const file of files) hash.update(file).update(readFileSync(file));
  return hash.digest('hex');
}

/** The files of a folder and of those in it; none when it is not there. */
function filesIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
