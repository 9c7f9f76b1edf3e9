import { performance } from 'node:perf_hooks';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '@tributary/server';

/** After a shorter job, the requests that have arrived meanwhile are served, and then the next job runs. */
const MIN_PAUSE_MS = 5;
/** The longest pause after a job. */
const MAX_PAUSE_MS = 250;
/** The least time that a job is charged to its client, so that many short jobs count as well. */
const MIN_COST_MS = 0.1;
/** Of all jobs that may wait, one client may have this share, and at least `MIN_CLIENT_LIMIT`. */
const CLIENT_SHARE = 0.25;
const MIN_CLIENT_LIMIT = 10;

interface Job {
  readonly key: string;
  /** Runs the job; never throws. */
  readonly run: () => Promise<void>;
  /** What it cost, if the job itself says so: it may have waited for another one. */
  readonly costMs: () => number | undefined;
  readonly result: Promise<unknown>;
  /** Clients that share a job have it in their lists, and it runs once. */
  isStarted: boolean;
}

interface Client {
  /** In the order of their arrival; finished jobs may be among them. */
  readonly jobs: Job[];
  /** How many of its jobs run. */
  running: number;
  /** The virtual time at which its next job starts: the planning time that it has used, counted from a common start. */
  start: number;
}

export interface PlanningQueueOptions {
  /** How many jobs may wait. */
  readonly limit: number;
  /** How many jobs may run at a time; 1 unless given. */
  readonly concurrency?: number;
  /** Whether jobs block this process. Then the queue pauses after each long one as long as it took, and other requests are served meanwhile. */
  readonly isBlocking?: boolean;
}

/**
 * Runs jobs for operations that are not in the cache, a few at a time. Callers with the same key wait for one job.
 *
 * Clients take turns by the time that their jobs took (start-time fair queueing): a client with many or long jobs delays the
 * first job of another by no more than the jobs that are running.
 */
export class PlanningQueue {
  readonly #limit: number;
  readonly #concurrency: number;
  readonly #isBlocking: boolean;
  readonly #clientLimit: number;
  readonly #jobs = new Map<string, Job>();
  /** Clients with jobs, and clients that used more than their share of time; at most twice the number of jobs that may wait. */
  readonly #clients = new Map<string, Client>();
  #virtualTime = 0;
  #running = 0;

  constructor({ limit, concurrency = 1, isBlocking = false }: PlanningQueueOptions) {
    this.#limit = limit;
    this.#concurrency = concurrency;
    this.#isBlocking = isBlocking;
    this.#clientLimit = Math.max(limit * CLIENT_SHARE, MIN_CLIENT_LIMIT);
  }

  /**
   * @param key identifies the job; a job that waits already is not queued again
   * @param work may say what it costs, in milliseconds; otherwise that is the time until it is over
   * @param client the key of the client that waits for it
   * @throws ApiError RATE_LIMITED when too many jobs wait already
   */
  run<T>(key: string, work: (charge: (ms: number) => void) => T | Promise<T>, client = ''): Promise<T> {
    const waiting = this.#jobs.get(key);
    const queue = this.#clients.get(client);
    if (waiting) {
      // It also takes the turn of this client, if that comes first.
      if (waiting.isStarted || queue?.jobs.includes(waiting)) return waiting.result as Promise<T>;
      if ((queue?.jobs.length ?? 0) < this.#clientLimit) this.#enqueue(client, waiting);
      return waiting.result as Promise<T>;
    }
    if (this.#jobs.size >= this.#limit || (queue?.jobs.length ?? 0) >= this.#clientLimit) {
      throw new ApiError('RATE_LIMITED', 'Too many new operations wait to be planned; try again in a moment.');
    }
    const job = jobOf(key, work);
    this.#jobs.set(key, job);
    this.#enqueue(client, job);
    if (this.#running < this.#concurrency) void this.#runAll();
    return job.result as Promise<T>;
  }

  #enqueue(name: string, job: Job): void {
    const client = this.#clients.get(name);
    if (!client) {
      if (this.#clients.size >= 2 * this.#limit) this.#forgetIdle();
      this.#clients.set(name, { jobs: [job], running: 0, start: this.#virtualTime });
    } else {
      // A client that was idle gets no credit for it.
      if (client.jobs.length === 0) client.start = Math.max(client.start, this.#virtualTime);
      client.jobs.push(job);
    }
  }

  #forgetIdle(): void {
    for (const [name, { jobs, running }] of this.#clients) {
      if (jobs.length === 0 && running === 0) this.#clients.delete(name);
    }
  }

  async #runAll(): Promise<void> {
    this.#running += 1;
    await nextTurn();
    for (let client = this.#next(); client; client = this.#next()) {
      const job = client.jobs.shift() as Job;
      if (job.isStarted) continue;
      job.isStarted = true;
      this.#virtualTime = client.start;
      client.running += 1;
      const started = performance.now();
      await job.run();
      const tookMs = performance.now() - started;
      client.running -= 1;
      this.#jobs.delete(job.key);
      client.start += Math.max(job.costMs() ?? tookMs, MIN_COST_MS);
      if (this.#isBlocking) await pause(tookMs);
    }
    this.#running -= 1;
  }

  /** The client whose turn it is; undefined when no job waits. */
  #next(): Client | undefined {
    let first: Client | undefined;
    for (const [name, client] of this.#clients) {
      if (client.jobs.length > 0) {
        if (!first || isBefore(client, first)) first = client;
      } else if (client.running === 0 && client.start <= this.#virtualTime) this.#clients.delete(name);
    }
    // When no job waits or runs, the accounts are reset.
    if (!first && this.#running === 1) this.#clients.clear();
    return first;
  }
}

/** One of whose jobs fewer run comes first; otherwise the one that has used less time. */
function isBefore(a: Client, b: Client): boolean {
  return a.running === b.running ? a.start < b.start : a.running < b.running;
}

function jobOf<T>(key: string, work: (charge: (ms: number) => void) => T | Promise<T>): Job {
  let run: Job['run'] = () => Promise.resolve();
  let costMs: number | undefined;
  const charge = (ms: number) => {
    costMs = ms;
  };
  const result = new Promise<T>((resolve, reject) => {
    run = async () => {
      try {
        resolve(await work(charge));
      } catch (error) {
        reject(error);
      }
    };
  });
  return { key, run, result, costMs: () => costMs, isStarted: false };
}

function pause(tookMs: number): Promise<unknown> {
  return tookMs < MIN_PAUSE_MS ? nextTurn() : sleep(Math.min(tookMs, MAX_PAUSE_MS));
}
