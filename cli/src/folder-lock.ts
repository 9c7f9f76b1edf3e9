import { readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { identifyProcess } from './process-identity.js';
import { UserError } from './user-error.js';

/** The lock of earlier releases, a file with JSON. */
const LEGACY = 'owner.json';
const LOCK = /^lock\.(\d+)$/;
/** Each attempt fails only because another process has got the lock meanwhile. */
const ATTEMPTS = 100;

interface Owner {
  /** The name of its lock. */
  readonly name: string;
  readonly pid: number;
  readonly isAlive: boolean;
}

/**
 * The right of one process to use a folder, until it releases it or ends, however it ends.
 *
 * A lock is a symbolic link `lock.<number>` to `<process>:<start time>`: one system call creates it with its content, or fails
 * because it exists. A lock whose process has ended is never removed to get its place, which two could do at once; the next
 * number is taken instead.
 */
export class FolderLock {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /** @throws UserError when another process has it */
  static take(folder: string): FolderLock {
    const identity = identifyProcess(process.pid);
    if (!identity) {
      throw new UserError(
        `The data folder ${folder} cannot be locked: neither /proc nor the program "ps" shows when this process started.`,
      );
    }
    const self = `${process.pid}:${identity.startedAt}`;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const owners = ownersOf(folder);
      refuseOthers(folder, owners);
      const number = Math.max(0, ...owners.map(({ name }) => Number(LOCK.exec(name)?.[1] ?? 0))) + 1;
      const name = `lock.${number}`;
      const lock = new FolderLock(join(folder, name));
      try {
        symlinkSync(self, lock.#path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue;
        throw error;
      }
      // A process that read the folder earlier may have created a lower number that has become free since.
      const others = ownersOf(folder).filter((owner) => owner.name !== name);
      try {
        refuseOthers(folder, others);
      } catch (error) {
        lock.release();
        throw error;
      }
      for (const ended of others) rmSync(join(folder, ended.name), { force: true });
      return lock;
    }
    throw new UserError(`Other stacks use the data folder ${folder} in turn. Choose another folder with --data-dir.`);
  }

  /** @throws UserError when another process has it now */
  static refuseOthers(folder: string): void {
    refuseOthers(folder, ownersOf(folder));
  }

  static isLock(name: string): boolean {
    return LOCK.test(name);
  }

  release(): void {
    rmSync(this.#path, { force: true });
  }
}

function refuseOthers(folder: string, owners: readonly Owner[]): void {
  const other = owners.find(({ isAlive }) => isAlive);
  if (!other) return;
  throw new UserError(
    `Another stack (process ${other.pid}) uses the data folder ${folder}. Stop it, or choose another folder with --data-dir.`,
  );
}

function ownersOf(folder: string): Owner[] {
  return readdirSync(folder)
    .filter((name) => LOCK.test(name) || name === LEGACY)
    .map((name) => {
      const { pid, startedAt } = readLock(join(folder, name), name === LEGACY);
      return { name, pid, isAlive: identifyProcess(pid)?.startedAt === startedAt };
    });
}

/** Reads the owner of a lock. A lock that cannot be read, or was released meanwhile, has none. */
function readLock(path: string, isLegacy: boolean): { pid: number; startedAt: string | null } {
  try {
    if (isLegacy) return JSON.parse(readFileSync(path, 'utf8'));
    const [, pid, startedAt] = /^(\d+):(.*)$/.exec(readlinkSync(path)) as RegExpExecArray;
    return { pid: Number(pid), startedAt: startedAt as string };
  } catch {
    return { pid: 0, startedAt: null };
  }
}
