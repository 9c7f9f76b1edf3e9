import cluster, { type Worker } from 'node:cluster';
import { performance } from 'node:perf_hooks';
import type { Logger } from 'pino';
import prometheus, { type Registry } from 'prom-client';
import {
  countUnexpectedError,
  exposeUnexpectedErrors,
  handleUnexpectedErrors,
  type UnexpectedErrorMessage,
} from './unexpected-errors.js';

/** A new process must serve within this time, or the old ones stay. */
const START_MS = 60_000;
/** A process that has not ended this long after its time limit is killed. */
const KILL_AFTER_MS = 1000;
/** One Ctrl-C may arrive twice: from the terminal, and from npm. A second signal is one that comes later than this. */
const SAME_SIGNAL_MS = 500;
/** How long until a process that ended by itself is started again; it doubles while that goes on. */
const RESTART_MS = 250;
const MAX_RESTART_MS = 30_000;
/** A process that lived longer was healthy: the restart delay begins again at RESTART_MS. */
const WELL_MS = 10_000;
const METRICS_MS = 3000;

/** The messages between processes. After SIGHUP a primary of an earlier release runs workers of this one, so their form stays. */
type Message =
  | UnexpectedErrorMessage
  | { readonly tell: 'serving' }
  | { readonly tell: 'metrics?'; readonly id: number }
  | { readonly tell: 'metrics'; readonly id: number; readonly text: string | null };

/** Whether this is one of several processes behind one port. */
export const isOneOfSeveral = (): boolean => cluster.isWorker;

/** Reports to the primary process that this one serves. */
export function reportServing(): void {
  process.send?.({ tell: 'serving' } satisfies Message);
}

export interface ProcessesOptions {
  /** The name of the program, as in the metrics. */
  readonly name: string;
  readonly count: number;
  /** The longest that one of them takes to end. */
  readonly endMs: number;
  readonly logger: Logger;
}

/**
 * Serves in `count` processes, which share one port. A process that ends unexpectedly is restarted; SIGHUP replaces them
 * one by one, each when the next one serves, by the program that is installed now (but ends them when a terminal is closed); SIGTERM and SIGINT
 * end them all, and a second signal at once. They end when the process that started them is killed.
 *
 * @param serve what each of them does; with one process, this one does it
 */
export async function serveInProcesses(options: ProcessesOptions, serve: () => Promise<void>): Promise<void> {
  if (cluster.isWorker) {
    // For the metrics of all of them.
    new prometheus.AggregatorRegistry();
    await serve();
  } else if (options.count === 1) await serve();
  else new Processes(options).start();
}

class Processes {
  readonly #count: number;
  readonly #endMs: number;
  readonly #logger: Logger;
  readonly #metrics = new prometheus.AggregatorRegistry();
  /** What is counted here for all of them. */
  readonly #ownMetrics = new prometheus.Registry();
  /** Those that are not about to end. */
  readonly #workers = new Set<Worker>();
  readonly #serving = new WeakSet<Worker>();
  #everServed = false;
  #endingSince: number | null = null;
  #replacing: Promise<void> | null = null;
  #replaceAgain = false;
  #restartMs = RESTART_MS;

  constructor({ name, count, endMs, logger }: ProcessesOptions) {
    this.#ownMetrics.setDefaultLabels({ service: name });
    exposeUnexpectedErrors(this.#ownMetrics);
    this.#count = count;
    this.#endMs = endMs;
    this.#logger = logger;
  }

  get #ending(): boolean {
    return this.#endingSince !== null;
  }

  start(): void {
    cluster.on('message', (worker, message: Message) => void this.#onMessage(worker, message));
    // From a terminal it means that this was closed.
    process.on('SIGHUP', () => (process.stdout.isTTY ? void this.#end() : this.#replaceAll()));
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => this.#onSignal(signal));
    handleUnexpectedErrors(this.#logger, () => {
      process.exitCode = 1;
      void this.#end();
    });
    for (let i = 0; i < this.#count; i++) this.#fork();
    this.#logger.info({ processes: this.#count }, 'starts processes');
  }

  #fork(): Worker {
    const worker = cluster.fork();
    const startedAt = performance.now();
    this.#workers.add(worker);
    worker.once('exit', (code, signal) => {
      // Otherwise it was asked to stop.
      if (this.#workers.delete(worker) && !this.#ending)
        this.#onUnexpectedExit(worker, code, signal, performance.now() - startedAt);
    });
    return worker;
  }

  #onUnexpectedExit(worker: Worker, code: number | null, signal: string | null, livedMs: number): void {
    if (!this.#everServed && code !== 0 && signal === null) {
      // It has logged the reason, which is the same for the others.
      process.exitCode = code ?? 1;
      void this.#end();
      return;
    }
    countUnexpectedError('exit');
    this.#restartMs = livedMs > WELL_MS ? RESTART_MS : Math.min(this.#restartMs * 2, MAX_RESTART_MS);
    this.#logger.error(
      { process: worker.process.pid, code, signal, restartMs: this.#restartMs },
      'a process has ended',
    );
    setTimeout(() => {
      if (!this.#ending && this.#workers.size < this.#count) this.#fork();
    }, this.#restartMs);
  }

  async #onMessage(worker: Worker, message: Message): Promise<void> {
    if (message.tell === 'serving') {
      this.#everServed = true;
      this.#serving.add(worker);
      worker.emit('serving');
    }
    if (message.tell === 'unexpected error') countUnexpectedError(message.kind);
    if (message.tell === 'metrics?') {
      const text = await this.#metricsOfAll().catch(() => null);
      if (worker.isConnected()) worker.send({ tell: 'metrics', id: message.id, text } satisfies Message);
    }
  }

  async #metricsOfAll(): Promise<string> {
    return `${await this.#metrics.clusterMetrics()}\n${await this.#ownMetrics.metrics()}`;
  }

  #replaceAll(): void {
    if (this.#ending) return;
    this.#replaceAgain = this.#replacing !== null;
    this.#replacing ??= this.#replaceEach().finally(() => {
      this.#replacing = null;
      if (this.#replaceAgain) this.#replaceAll();
    });
  }

  async #replaceEach(): Promise<void> {
    this.#logger.info('replaces its processes');
    for (const old of [...this.#workers]) {
      const fresh = this.#fork();
      if (!(await this.#serves(fresh))) {
        this.#workers.delete(fresh);
        fresh.kill('SIGKILL');
        this.#logger.error('a new process does not serve: the old ones stay');
        return;
      }
      await this.#retire(old);
      if (this.#ending) return;
    }
    this.#logger.info('has replaced its processes');
  }

  async #serves(worker: Worker): Promise<boolean> {
    if (this.#serving.has(worker)) return true;
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), START_MS);
      const settle = (serves: boolean) => {
        clearTimeout(timer);
        resolve(serves);
      };
      worker.once('serving', () => settle(true));
      worker.once('exit', () => settle(false));
    });
  }

  async #retire(worker: Worker): Promise<void> {
    this.#workers.delete(worker);
    if (worker.isDead()) return;
    const ended = new Promise((resolve) => worker.once('exit', resolve));
    worker.process.kill('SIGTERM');
    const tooLong = setTimeout(() => {
      this.#logger.error({ process: worker.process.pid }, 'a process does not end; it is killed');
      worker.process.kill('SIGKILL');
    }, this.#endMs + KILL_AFTER_MS);
    await ended;
    clearTimeout(tooLong);
  }

  #onSignal(signal: NodeJS.Signals): void {
    if (this.#endingSince === null) {
      void this.#end();
    } else if (performance.now() - this.#endingSince > SAME_SIGNAL_MS) {
      this.#logger.warn({ signal }, 'a second stop signal; every process ends at once');
      for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGKILL');
      process.exit(1);
    }
  }

  async #end(): Promise<void> {
    if (this.#ending) return;
    this.#endingSince = performance.now();
    await Promise.all(Object.values(cluster.workers ?? {}).map((worker) => worker && this.#retire(worker)));
    process.exit();
  }
}

let lastId = 0;

/** Reads the metrics of this process, or of all processes behind its port. */
export function metricsReader(own: Registry): () => Promise<string> {
  if (!cluster.isWorker) return () => own.metrics();
  // Prometheus may scrape any of them.
  prometheus.AggregatorRegistry.setRegistries(own);
  return async () => (await metricsOfAll(++lastId)) ?? own.metrics();
}

function metricsOfAll(id: number): Promise<string | null> {
  return new Promise((resolve) => {
    const settle = (text: string | null) => {
      process.off('message', onMessage);
      clearTimeout(timer);
      resolve(text);
    };
    const onMessage = (message: Message) => {
      if (message?.tell === 'metrics' && message.id === id) settle(message.text);
    };
    const timer = setTimeout(() => settle(null), METRICS_MS);
    process.on('message', onMessage);
    process.send?.({ tell: 'metrics?', id } satisfies Message);
  });
}
