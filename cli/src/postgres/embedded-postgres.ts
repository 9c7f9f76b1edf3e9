import { type ChildProcess, spawn } from 'node:child_process';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../free-port.js';
import { identifyProcess } from '../process-identity.js';
import { UserError } from '../user-error.js';
import { findPostgresBinaries, type PostgresBinaries } from './postgres-binaries.js';
import { chooseServerUser, type ServerUser } from './server-user.js';

const START_TIMEOUT_MS = 60_000;
/** How long a server that was not ready in time may take to end. */
const STOP_TIMEOUT_MS = 5000;
const LEFTOVER_TIMEOUT_MS = 20_000;
const REMEDY = 'If its data is damaged, restore the data folder from a backup, or import anew with --fresh.';

/**
 * Runs a program that must not outlive us, even when we are killed: descriptor 3 is a pipe from us, and when it closes
 * the program receives SIGINT. `exec` keeps the process number, so a signal and an exit status are the program's own.
 */
const TIED_TO_US = '(cat <&3 >/dev/null; kill -INT $$) 2>/dev/null & exec "$@" 3<&-';

export interface EmbeddedPostgresOptions {
  /** Holds the database cluster (`postgres/`) and the server's log. */
  readonly dataFolder: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** Of the superuser `postgres`. */
  readonly password: string;
  /** False trades durability for speed, for tests. */
  readonly durable?: boolean;
}

/** A PostgreSQL server of our own on 127.0.0.1, stopped when this process ends, however it ends. */
export class EmbeddedPostgres {
  readonly port: number;
  /** Resolves when the server has ended, whether it was stopped or failed. */
  readonly ended: Promise<void>;
  readonly #process: ChildProcess;
  readonly #password: string;

  /** Use `start`. */
  constructor(port: number, child: ChildProcess, ended: Promise<void>, password: string) {
    this.port = port;
    this.#process = child;
    this.ended = ended;
    this.#password = password;
  }

  /**
   * Creates the cluster at the first start, ends a server that a killed start left behind, and starts the server.
   *
   * @throws UserError when it cannot start; the message has the server's output
   */
  static async start(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
    const binaries = await findPostgresBinaries();
    mkdirSync(options.dataFolder, { recursive: true, mode: 0o711 });
    const user = chooseServerUser([binaries.postgres, options.dataFolder]);
    const cluster = join(options.dataFolder, 'postgres');
    const isNew = !existsSync(cluster);
    if (isNew) await createCluster(cluster, binaries, user, options.password);
    else refuseOtherVersion(cluster, binaries.major);
    await endLeftover(cluster);
    // A new folder is removed when the start fails.
    const remedy = isNew ? '.' : ` (see ${options.dataFolder}/postgres.log). ${REMEDY}`;
    return launch(cluster, binaries, user, options, remedy);
  }

  /** The process number of the server. */
  get pid(): number {
    return this.#process.pid as number;
  }

  /** A connection URL. */
  url(database: string, role = 'postgres', password = this.#password): string {
    return `postgres://${role}:${encodeURIComponent(password)}@127.0.0.1:${this.port}/${database}`;
  }

  /** Ends every session and stops the server. May be called again. */
  async stop(): Promise<void> {
    this.#process.kill('SIGINT');
    await this.ended;
  }
}

/** A cluster appears whole or not at all: a start that is killed meanwhile leaves only the unfinished folder. */
async function createCluster(
  cluster: string,
  { initdb }: PostgresBinaries,
  user: ServerUser,
  password: string,
): Promise<void> {
  const unfinished = `${cluster}.unfinished`;
  const passwordFile = `${cluster}.password`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { mode: 0o700 });
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  try {
    user.own(unfinished);
    user.own(passwordFile);
    const [command = initdb, ...args] = [
      ...user.prefix,
      initdb,
      `--pgdata=${unfinished}`,
      `--pwfile=${passwordFile}`,
      '--username=postgres',
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      '--locale=C',
      '--no-sync',
    ];
    const child = spawn(command, args, { ...user.ids, cwd: '/', stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (chunk) => {
      said += chunk;
    });
    const status = await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
    if (status !== 0) throw new UserError(`PostgreSQL could not create its data in ${cluster}: ${reasonIn(said)}`);
    renameSync(unfinished, cluster);
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    throw error;
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

function refuseOtherVersion(cluster: string, major: number): void {
  const file = join(cluster, 'PG_VERSION');
  if (!readdirSync(cluster).includes('PG_VERSION')) {
    throw new UserError(`${cluster} is damaged: it has no PG_VERSION. ${REMEDY}`);
  }
  const written = readFileSync(file, 'utf8').trim();
  if (written === String(major)) return;
  throw new UserError(
    `${cluster} was written by PostgreSQL ${written}, and this release has PostgreSQL ${major}: run the release that wrote it, or import anew with --fresh.`,
  );
}

/** The error in what PostgreSQL printed, in one line. */
function reasonIn(said: string): string {
  const lines = said.split('\n').filter((line) => line.trim() !== '');
  const line = lines.findLast((each) => /\b(?:error|FATAL|PANIC):/.test(each)) ?? lines.at(-1) ?? 'it printed nothing';
  return line.replace(/^.*?\b(?:error|FATAL|PANIC): */, '').trim();
}

/** A server whose starter was killed stops by itself; it may need a moment, or a nudge. */
async function endLeftover(cluster: string): Promise<void> {
  const deadline = Date.now() + LEFTOVER_TIMEOUT_MS;
  for (let nudged = false; ; nudged = true) {
    const pid = leftoverServer(cluster);
    if (pid === undefined) return;
    if (Date.now() > deadline) {
      throw new UserError(`A PostgreSQL server (process ${pid}) still uses ${cluster} and does not end.`);
    }
    if (!nudged) process.kill(pid, 'SIGINT');
    await sleep(50);
  }
}

function leftoverServer(cluster: string): number | undefined {
  const pidFile = join(cluster, 'postmaster.pid');
  if (!existsSync(pidFile)) return undefined;
  const pid = Number.parseInt(readFileSync(pidFile, 'utf8'), 10);
  return identifyProcess(pid)?.command.includes(cluster) ? pid : undefined;
}

async function launch(
  cluster: string,
  { postgres }: PostgresBinaries,
  user: ServerUser,
  { port: requestedPort, password, durable = true, dataFolder }: EmbeddedPostgresOptions,
  remedy: string,
): Promise<EmbeddedPostgres> {
  const port = requestedPort === 0 ? await freePort('127.0.0.1') : requestedPort;
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    lc_messages: 'C',
    max_connections: '200',
    log_min_messages: 'warning',
    ...(!durable && { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const command = [...user.prefix, postgres, '-D', cluster, '-p', String(port), ...flags];
  // A session of its own: Ctrl-C in the terminal is for us, and we stop the server last.
  const child = spawn('/bin/sh', ['-c', TIED_TO_US, 'postgres', ...command], {
    ...user.ids,
    cwd: '/',
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  });
  const tie = child.stdio[3] as Readable;
  tie.on('error', () => undefined);
  const ended = new Promise<void>((resolve) =>
    child.once('exit', () => {
      tie.destroy();
      resolve();
    }),
  );

  const log = createWriteStream(join(dataFolder, 'postgres.log'), { flags: 'a', mode: 0o600 });
  let said = '';
  const ready = new Promise<void>((resolve, reject) => {
    const fail = (why: string) => reject(new UserError(`PostgreSQL did not start: ${why}${remedy}`));
    let late = '';
    let timer = setTimeout(() => {
      late = `it was not ready after ${START_TIMEOUT_MS / 1000} s: `;
      child.kill('SIGINT');
      timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    }, START_TIMEOUT_MS);
    child.once('error', (error) => fail(error.message));
    // Not before the server has ended: the caller may delete its data.
    void ended.then(() => {
      clearTimeout(timer);
      fail(late + reasonIn(said));
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      log.write(chunk);
      said = (said + chunk).slice(-4000);
      if (said.includes('ready to accept connections')) {
        clearTimeout(timer);
        resolve();
      }
    });
  });
  await ready;
  return new EmbeddedPostgres(port, child, ended, password);
}
