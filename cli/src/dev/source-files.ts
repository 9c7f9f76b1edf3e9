import { type BigIntStats, lstatSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PROJECT } from '../services.js';

/** How often the files are compared with what they were. A scan of some 300 files takes 2 ms. */
const SCAN_MS = 150;
/** How long files that go on changing postpone a build. */
const LONGEST_WAIT_MS = 1000;

/** What the files were at one moment: by path in the project, a stamp that changes with the content. */
type Snapshot = ReadonlyMap<string, string>;

/** Files that differ from those that were taken last. */
export interface SourceChange {
  /** Paths in the project, of those added and removed as well. */
  readonly paths: readonly string[];
  /** When the last of them was saved, in ms since 1970. */
  readonly savedAt: number;
}

/**
 * The source files of the project. They are compared with an earlier state instead of watched: no event can be lost, whatever an editor
 * or git does to a file, and on whichever file system.
 */
export class SourceFiles {
  #taken: Snapshot = new Map();

  /** Whether files differ from those that were taken last. */
  get changed(): boolean {
    return !isSame(scan(), this.#taken);
  }

  /** Takes the files as they are. */
  take(): void {
    this.#taken = scan();
  }

  /**
   * Waits until files differ from those that were taken last and rest for a moment, and takes them.
   *
   * @throws when the signal aborts
   */
  async next(signal: AbortSignal): Promise<SourceChange> {
    let previous = this.#taken;
    let changedAt: number | null = null;
    for (;;) {
      await sleep(SCAN_MS, undefined, { signal });
      const now = scan();
      if (isSame(now, this.#taken)) {
        changedAt = null;
      } else {
        changedAt ??= Date.now();
        if (isSame(now, previous) || Date.now() - changedAt > LONGEST_WAIT_MS) return this.#accept(now, changedAt);
      }
      previous = now;
    }
  }

  #accept(now: Snapshot, changedAt: number): SourceChange {
    const before = this.#taken;
    this.#taken = now;
    const paths = [...new Set([...before.keys(), ...now.keys()])].filter((path) => before.get(path) !== now.get(path));
    // A file may keep an old time, as one that is moved does.
    const saved = paths.map((path) => Number(now.get(path)?.split(' ')[0] ?? 0) / 1e6);
    return { paths, savedAt: Math.min(Date.now(), Math.max(changedAt - SCAN_MS, ...saved)) };
  }
}

function isSame(one: Snapshot, other: Snapshot): boolean {
  return one.size === other.size && [...one].every(([path, stamp]) => other.get(path) === stamp);
}

function scan(): Snapshot {
  const files = new Map<string, string>();
  for (const file of ['package.json', 'tsconfig.json', 'turbo.json']) note(files, join(PROJECT, file));
  for (const folder of ['shared', 'gateway', 'cli']) scanFolder(files, join(PROJECT, folder));
  scanFolder(files, join(PROJECT, 'subgraphs'));
  return files;
}

function scanFolder(files: Map<string, string>, folder: string): void {
  // A folder may be gone by now.
  for (const entry of quietly(() => readdirSync(folder, { withFileTypes: true })) ?? []) {
    const path = join(folder, entry.name);
    if (['dist', 'test'].includes(entry.name) || entry.name === 'node_modules' || entry.name.startsWith('.')) continue;
    if (entry.isDirectory()) scanFolder(files, path);
    else if (!entry.name.endsWith('.spec.ts')) note(files, path);
  }
}

function note(files: Map<string, string>, path: string): void {
  const stats = quietly((): BigIntStats => lstatSync(path, { bigint: true }));
  if (stats) files.set(relative(PROJECT, path), `${stats.mtimeNs} ${stats.ctimeNs} ${stats.size} ${stats.ino}`);
}

function quietly<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
