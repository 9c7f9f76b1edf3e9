import { randomBytes } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { FolderLock } from './folder-lock.js';
import { UserError } from './user-error.js';

/** Marks the folder as ours. It is the first file written, and the last one deleted. */
const MARK = 'tributary.txt';
const MARK_TEXT =
  'A local stack of Tributary keeps its data here: "npm start" wrote it, "npm start -- --fresh" deletes it.\n';
const SECRETS = 'secrets.json';
/** What `npm run dev` writes for its gateway. */
export const DEV_SUPERGRAPH = 'dev-supergraph.graphql';
/** What a stack of this release, or of an earlier one, writes into its folder: all that is ever deleted. */
const CONTENTS = [
  SECRETS,
  `${SECRETS}.unfinished`,
  'running.json',
  'import-report.json',
  DEV_SUPERGRAPH,
  `${DEV_SUPERGRAPH}.new`,
  'postgres.log',
  'postgres.password',
  'postgres.unfinished',
  'postgres',
  'owner.json',
];
/** What PostgreSQL, or its backup tools, write into the folder of a cluster. */
const CLUSTER =
  /^(base|global|log|current_logfiles|pg_.+|PG_VERSION|postgresql\b.*\.conf(\.tmp)?|postmaster\..+|backup_(label|manifest)|tablespace_map|\w+\.signal)(\.old)?$/;

/** What the system puts into folders by itself, such as a mounted volume. */
const OF_THE_SYSTEM = ['.DS_Store', 'lost+found'];

/** Problems of a path by the system's error code. */
const REASONS: Readonly<Record<string, string>> = {
  EEXIST: 'it is a file',
  ENOTDIR: 'a part of the path is a file',
  ENOENT: 'it cannot be created',
  EACCES: 'permission is denied',
  EPERM: 'permission is denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is exhausted',
  ELOOP: 'its symbolic links lead in a circle',
  ENAMETOOLONG: 'it is too long',
};

const secretsSchema = z
  .object({
    postgres: z.string(),
    tokens: z.string(),
    internal: z.string(),
  })
  .catchall(z.string());

/**
 * Passwords of the local database roles (each service's under its name), and the secrets that sign development tokens and open
 * event logs. Created at the first start.
 */
export type Secrets = z.infer<typeof secretsSchema>;

/** The folder that keeps the data of a local stack. One stack may use it at a time. */
export class DataFolder {
  readonly path: string;
  /** Files in a folder of ours that we did not write: they are never deleted. */
  readonly foreign: readonly string[];
  readonly #lock: FolderLock;
  /** Folders that were created for it, the innermost last; empty when it existed. */
  readonly #created: readonly string[];
  /** Whether it was empty when it was taken. */
  readonly #isNew: boolean;

  private constructor(path: string, lock: FolderLock, created: readonly string[], isNew: boolean) {
    this.path = path;
    this.#lock = lock;
    this.#created = created;
    this.#isNew = isNew;
    this.foreign = foreignIn(path);
  }

  /**
   * Takes the folder for this process, and creates it when it does not exist.
   *
   * @param fresh deletes what a stack wrote into it
   * @throws UserError when it holds something else, cannot be written, or another stack uses it; then it is as it was
   */
  static take(path: string, fresh: boolean): DataFolder {
    const folder = resolve(path);
    const created: string[] = [];
    let isNew = false;
    try {
      createFolder(folder, created);
      isNew = mark(folder);
      if (fresh) refuseForeignInCluster(join(folder, 'postgres'));
      const taken = new DataFolder(folder, FolderLock.take(folder), created, isNew);
      if (fresh) taken.#empty();
      return taken;
    } catch (error) {
      // Where another stack has taken the new folder meanwhile, it is not empty, and stays.
      undo(folder, created, isNew && !(error instanceof UserError));
      throw explainFolderError(error, folder);
    }
  }

  /** Why the folder cannot be taken, as far as it can be checked without touching it; null when nothing is wrong. */
  static problem(path: string): string | null {
    const folder = resolve(path);
    try {
      let nearest = folder;
      while (!exists(nearest)) nearest = dirname(nearest);
      refuseFile(nearest);
      accessSync(nearest, constants.W_OK | constants.X_OK);
      if (nearest === folder) {
        entriesOf(folder);
        FolderLock.refuseOthers(folder);
      }
      return null;
    } catch (error) {
      const explained = explainFolderError(error, folder);
      if (explained instanceof UserError) return explained.message;
      throw explained;
    }
  }

  file(name: string): string {
    return join(this.path, name);
  }

  release(): void {
    this.#lock.release();
  }

  /** Releases the folder; one that was new is as if it had never been taken. For a start that failed before there was any data. */
  discard(): void {
    if (this.#isNew) this.#empty();
    this.release();
    undo(this.path, this.#created, this.#isNew);
  }

  /**
   * Reads the folder's secrets, with a password for each service, and creates those that are missing.
   *
   * @throws UserError when they are lost, though there are databases that need them
   */
  secrets(services: readonly string[]): Secrets {
    const create = () => randomBytes(24).toString('base64url');
    const stored = secretsSchema.safeParse(readJson(this.file(SECRETS)));
    if (!stored.success && existsSync(this.file('postgres'))) {
      throw new UserError(
        `${this.file(SECRETS)} is missing or damaged, and holds the passwords of the databases in ${this.path}: ` +
          'restore it from a backup, or import anew with --fresh.',
      );
    }
    const secrets: Secrets = {
      postgres: create(),
      ...Object.fromEntries(services.map((service) => [service, create()])),
      tokens: create() + create(),
      internal: create(),
      ...stored.data,
    };
    if (Object.keys(secrets).length !== Object.keys(stored.data ?? {}).length) this.#write(SECRETS, secrets);
    return secrets;
  }

  /** Replaces a file as a whole: a full disk or a killed process leaves the old one. Readable for its owner only. */
  #write(name: string, content: unknown): void {
    const unfinished = this.file(`${name}.unfinished`);
    try {
      writeFileSync(unfinished, JSON.stringify(content, null, 2), { mode: 0o600 });
      renameSync(unfinished, this.file(name));
    } catch (error) {
      rmSync(unfinished, { force: true });
      throw explainFolderError(error, this.path);
    }
  }

  /** Deletes what a stack wrote; symbolic links are deleted, not followed. */
  #empty(): void {
    for (const name of CONTENTS) rmSync(this.file(name), { recursive: true, force: true });
  }
}

/** Reads the secrets of a folder without taking it. @throws UserError when there are none */
export function readSecrets(path: string): Secrets {
  const file = join(resolve(path), SECRETS);
  const result = secretsSchema.safeParse(readJson(file));
  if (result.success) return result.data;
  throw new UserError(`${file} holds no secrets of a stack. Run "npm start" first, or "npm start -- --fresh".`);
}

/**
 * Creates a folder, and those above it that are missing. (Step by step: Node's recursive mkdir never returns for a path in /proc.)
 *
 * @param created receives those that were created, the innermost last
 */
function createFolder(path: string, created: string[]): void {
  const missing: string[] = [];
  for (let folder = path; !exists(folder); folder = dirname(folder)) missing.unshift(folder);
  for (const folder of missing) {
    try {
      // Others may enter (PostgreSQL runs as another user when we are root), but not list it.
      mkdirSync(folder, { mode: 0o711 });
      created.push(folder);
    } catch (error) {
      // Another start may have created it in this moment.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
  refuseFile(path);
}

function refuseFile(path: string): void {
  if (!statSync(path).isDirectory())
    throw Object.assign(new Error('not a folder'), { code: 'EEXIST', syscall: 'mkdir' });
}

function exists(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/**
 * Marks a folder as ours: an empty one, or one of an earlier release.
 *
 * @returns whether it is new to us
 * @throws UserError when it holds something else
 */
function mark(folder: string): boolean {
  const entries = entriesOf(folder);
  if (entries.includes(MARK)) return false;
  try {
    writeFileSync(join(folder, MARK), MARK_TEXT, { flag: 'wx' });
    return entries.length === 0;
  } catch (error) {
    // Another start may have marked it in this moment.
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    rmSync(join(folder, MARK), { force: true });
    throw error;
  }
}

/** What is in a folder that can be ours. @throws UserError when it holds something else */
function entriesOf(folder: string): string[] {
  const entries = readdirSync(folder).filter((name) => !FolderLock.isLock(name) && !OF_THE_SYSTEM.includes(name));
  const isOurs = entries.length === 0 || entries.includes(MARK) || holdsSecrets(folder);
  if (isOurs) return entries;
  throw new UserError(
    `--data-dir: expected a new or empty folder, or one with data of Tributary; got ${folder}, which holds ${listed(entries)}`,
  );
}

const holdsSecrets = (folder: string) => secretsSchema.safeParse(readJson(join(folder, SECRETS))).success;

/** What is in a folder of ours that we did not write. */
export function foreignIn(folder: string): string[] {
  const ours = [MARK, ...CONTENTS, ...OF_THE_SYSTEM];
  return readdirSync(folder).filter((name) => !ours.includes(name) && !FolderLock.isLock(name));
}

/** PostgreSQL needs a folder of its own: what is not of it cannot stay there, and is not ours to delete. */
function refuseForeignInCluster(cluster: string): void {
  if (!lstatSync(cluster, { throwIfNoEntry: false })?.isDirectory()) return;
  const foreign = readdirSync(cluster).filter((name) => !CLUSTER.test(name));
  if (foreign.length === 0) return;
  throw new UserError(
    `--data-dir: expected only files of PostgreSQL in ${cluster}, which --fresh deletes; got ${listed(foreign)}. Move that elsewhere first.`,
  );
}

const listed = (names: readonly string[]) => names.slice(0, 3).join(', ') + (names.length > 3 ? ', …' : '');

function undo(folder: string, created: readonly string[], marked: boolean): void {
  try {
    if (marked) rmSync(join(folder, MARK), { force: true });
    for (const path of created.toReversed()) rmdirSync(path);
  } catch {
    // Another process uses it now.
  }
}

/** Turns a system error on a data folder into a UserError; returns any other error unchanged. */
export function explainFolderError(error: unknown, folder: string): unknown {
  const { code = '', syscall } = error as NodeJS.ErrnoException;
  const reason = REASONS[code];
  if (!reason || !syscall || syscall.startsWith('spawn')) return error;
  return new UserError(`--data-dir: expected a folder that can be written; got ${folder} (${reason})`);
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}
