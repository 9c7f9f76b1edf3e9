import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { PROJECT } from '../services.js';

const manifestSchema = z.object({ name: z.string(), dependencies: z.record(z.string(), z.string()).default({}) });

/** A package of the project that programs are built from. */
export interface Package {
  readonly name: string;
  /** Its path in the project: `subgraphs/products`. */
  readonly folder: string;
  /** The names of the packages that it imports. */
  readonly dependencies: readonly string[];
}

/** Reads the packages: the shared one, the gateway and every service. */
export function readPackages(): Package[] {
  const services = readdirSync(join(PROJECT, 'subgraphs')).map((name) => `subgraphs/${name}`);
  return ['shared', 'gateway', ...services].flatMap((folder) => {
    const manifest = join(PROJECT, folder, 'package.json');
    if (!existsSync(manifest)) return [];
    const { name, dependencies } = manifestSchema.parse(JSON.parse(readFileSync(manifest, 'utf8')));
    return [{ name, folder, dependencies: Object.keys(dependencies) }];
  });
}

/** Finds the folders that the code of a program comes from: its own, and those of the packages that it imports. */
export function foldersOf(folder: string, packages: readonly Package[]): string[] {
  const folders = new Set([folder]);
  // A set is iterated over what is added meanwhile, too.
  for (const each of folders) {
    const dependencies = packages.find((one) => one.folder === each)?.dependencies ?? [];
    for (const { name, folder: next } of packages) if (dependencies.includes(name)) folders.add(next);
  }
  return [...folders];
}

/** Hashes the code in build output: scripts and pages, without types and source maps. */
export function hashBuild(folders: readonly string[], matches = (_path: string) => true): string {
  const hash = createHash('sha256');
  for (const folder of folders) {
    const output = join(PROJECT, folder, 'dist');
    for (const path of existsSync(output) ? filesIn(output) : []) {
      if (/\.(d\.ts|map)$/.test(path) || !matches(path)) continue;
      hash.update(path).update(readFileSync(path));
    }
  }
  return hash.digest('hex');
}

function filesIn(folder: string): string[] {
  const entries = readdirSync(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
