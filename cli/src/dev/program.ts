import cluster, { type Worker } from 'node:cluster';
import { join } from 'node:path';
import { Turns } from '@tributary/server';
import { PROJECT } from '../services.js';
import { hashProgram, type Package } from './packages.js';

/** How long a new process may take until it serves, on a machine that is busy with other work. */
const START_MS = 60_000;
/** After this time it is said that it does not serve yet. */
const NOTICE_MS = 10_000;
/** After this time a process that does not serve yet is given up when sources have changed meanwhile. */
const PATIENCE_MS = 5000;
const LOOK_MS = 250;
/** How long a process that was replaced may take to answer its last requests, before it is killed. */
const DRAIN_MS = 8000;
/** The same at the end. */
const END_MS = 2500;
/** How long until a process that ended by itself is started again; it doubles while that goes on. */
const RESTART_MS = 500;
const MAX_RESTART_MS = 10_000;
/** A process that lived longer was well. */
const WELL_MS = 10_000;

/** What a worker sends. */
type Message = { readonly tell: 'serving' } | { readonly tell: 'metrics?'; readonly id: number };

/** The reason why a process did not serve. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

export interface ProgramOptions {
  readonly name: string;
  /** The package whose `dist/main.js` it is, by its path in the project. */
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly packages: readonly Package[];
  /** Runs before each start of a process; what it throws keeps the process from being started. */
  readonly prepare?: () => Promise<void>;
  /** Whether sources have changed since the last build, so that a process that hangs at its start need not be waited for. */
  readonly outdated: () => boolean;
  /** Prints a line. */
  readonly say: (line: string) => void;
  /** No process is started any more when it has aborted. */
  readonly stopped: AbortSignal;
}

/**
 * A service or the gateway, in a process of its own that is replaced without downtime: processes share the port, and the one before ends
 * when the next serves. The processes end when this one does, however it ends.
 */
export class Program {
  readonly name: string;
  readonly #options: ProgramOptions;
  /** One start at a time: else one that takes long would replace a process of newer code. */
  readonly #starts = new Turns();
  #worker: Worker | null = null;
  /** Hash of the code that the process runs. */
  #running: string | null = null;
  #restart: NodeJS.Timeout | undefined;
  #restartMs = RESTART_MS;

  constructor(options: ProgramOptions) {
    this.#options = options;
    this.name = options.name;
  }

  get isRunning(): boolean {
    return this.#worker !== null;
  }

  /** Whether no process runs the code that was built last. */
  get isOutdated(): boolean {
    return this.#running !== this.#readCode();
  }

  /**
   * Starts a process of the code that was built last, unless one runs. When it serves, the one before is ended.
   *
   * @throws StartError when it does not serve; the process before stays
   */
  async replace(): Promise<void> {
    await this.#starts.take(async () => {
      if (this.isOutdated) await this.#start();
    });
  }

  async #start(): Promise<void> {
    clearTimeout(this.#restart);
    const code = this.#readCode();
    await this.#options.prepare?.();
    this.#options.stopped.throwIfAborted();
    const fresh = this.#fork();
    const notice = setTimeout(
      () => this.#options.say(`${this.name} does not serve yet, ${NOTICE_MS / 1000} s after its start …`),
      NOTICE_MS,
    );
    const outdated = () => this.#options.outdated() || this.#readCode() !== code;
    const problem = await serving(fresh, outdated).finally(() => clearTimeout(notice));
    if (problem !== null) {
      await end(fresh, 0);
      throw new StartError(problem);
    }
    const old = this.#worker;
    this.#worker = fresh;
    this.#running = code;
    if (old) await end(old, DRAIN_MS);
  }

  #readCode(): string {
    return hashProgram(this.#options.folder, this.#options.packages);
  }

  #fork(): Worker {
    cluster.setupPrimary({ exec: join(PROJECT, this.#options.folder, 'dist/main.js'), args: [], cwd: PROJECT });
    const worker = cluster.fork(this.#options.environment);
    const startedAt = Date.now();
    worker.on('message', (message: Message) => {
      // Metrics of several processes; each of these is alone.
      if (message.tell === 'metrics?') worker.send({ tell: 'metrics', id: message.id, text: null });
    });
    worker.once('exit', (code, signal) => {
      if (worker !== this.#worker) return;
      this.#worker = null;
      this.#running = null;
      if (Date.now() - startedAt > WELL_MS) this.#restartMs = RESTART_MS;
      this.#restartLater(`${this.name} ended (${signal ?? `exit code ${code}`})`);
    });
    return worker;
  }

  #restartLater(why: string): void {
    const { say, stopped } = this.#options;
    if (stopped.aborted) return;
    say(`${why}; it starts again in ${this.#restartMs / 1000} s`);
    clearTimeout(this.#restart);
    this.#restart = setTimeout(() => {
      const restarted = this.#starts.take(async () => {
        // It may have been replaced meanwhile.
        if (this.isRunning) return;
        await this.#start();
        say(`${this.name} runs again`);
      });
      restarted.catch((error: Error) => this.#restartLater(`${this.name} did not start: ${error.message}`));
    }, this.#restartMs);
    this.#restartMs = Math.min(this.#restartMs * 2, MAX_RESTART_MS);
  }
}

/** Waits until a process serves. @returns why it does not; null when it does */
function serving(worker: Worker, outdated: () => boolean): Promise<string | null> {
  return new Promise((resolve) => {
    const startedAt = performance.now();
    const settle = (problem: string | null) => {
      clearInterval(looking);
      resolve(problem);
    };
    const looking = setInterval(() => {
      const waitedMs = performance.now() - startedAt;
      if (waitedMs > START_MS) settle(`it did not serve within ${START_MS / 1000} s`);
      else if (waitedMs > PATIENCE_MS && outdated())
        settle(`it did not serve within ${PATIENCE_MS / 1000} s, and files have changed again`);
    }, LOOK_MS);
    worker.on('message', (message: Message) => {
      if (message.tell === 'serving') settle(null);
    });
    worker.once('error', (error) => settle(error.message));
    worker.once('exit', (code, signal) => settle(`its process ended (${signal ?? `exit code ${code}`})`));
  });
}

/** Ends every process, of every program. */
export async function endPrograms(): Promise<void> {
  await Promise.all(Object.values(cluster.workers ?? {}).map((worker) => worker && end(worker, END_MS)));
}

/** @param patienceMs how long until a process that does not end is killed */
async function end(worker: Worker, patienceMs: number): Promise<void> {
  if (worker.isDead()) return;
  const ended = new Promise((resolve) => worker.once('exit', resolve));
  if (patienceMs > 0) worker.process.kill('SIGTERM');
  const tooLong = setTimeout(() => worker.process.kill('SIGKILL'), patienceMs);
  await ended;
  clearTimeout(tooLong);
}
