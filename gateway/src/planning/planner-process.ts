import { type ChildProcess, fork } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import {
  OUT_OF_MEMORY,
  type PlannerRequest,
  type PlannerResponse,
  PlanningError,
  type PlanRequest,
} from './planner-messages.js';
import type { QueryPlan } from './query-plan.js';
import type { PlannerName } from './query-planner.js';

/** The program of the process. (Tests run this file from its source, but Node runs only what is built.) */
const PROGRAM = fileURLToPath(
  import.meta.url.replace(/\/src\/planning\/[^/]*$/, '/dist/planning/').replace(/[^/]*$/, 'planner-main.js'),
);
/** Supergraphs that a process holds: two while one replaces the other, each with and without `@provides`; more in tests. */
const MAX_SUPERGRAPHS = 8;
const LOAD_TIMEOUT_MS = 60_000;
/** Time for a process to refuse a planning itself before it is killed. */
const GRACE_MS = 500;
/** What is read of a process's last words. */
const MAX_STDERR = 4000;

export interface SupergraphText {
  readonly id: string;
  readonly sdl: string;
}

export interface PlannerProcessOptions {
  /** The longest time that one planning may take. */
  readonly timeoutMs: number;
  /** Bound on the memory of the process, in MiB. */
  readonly maxMemoryMb: number;
}

/**
 * Runs one planner in a process of its own, and one planning at a time: a planner that crashes, or takes too much time or memory, costs that
 * planning, and not the gateway. The process starts with the first supergraph, and again after it has ended.
 */
export class PlannerProcess {
  readonly #planner: PlannerName;
  readonly #options: PlannerProcessOptions;
  #child: PlannerChild | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(planner: PlannerName, options: PlannerProcessOptions) {
    this.#planner = planner;
    this.#options = options;
  }

  /** Loads a supergraph. @throws PlanningError when the planner cannot */
  load(supergraph: SupergraphText): Promise<void> {
    return this.#inTurn(async () => {
      await this.#childWith(supergraph);
    });
  }

  /**
   * Plans an operation.
   *
   * @param charge called with the time that it took, in milliseconds, without the wait for its turn
   * @throws PlanningError
   */
  plan(
    supergraph: SupergraphText,
    request: Omit<PlanRequest, 'type' | 'supergraph' | 'timeoutMs'>,
    charge: (ms: number) => void,
  ): Promise<QueryPlan> {
    return this.#inTurn(async () => {
      const { timeoutMs } = this.#options;
      const child = await this.#childWith(supergraph);
      const message: PlanRequest = { type: 'plan', supergraph: supergraph.id, timeoutMs, ...request };
      const started = performance.now();
      try {
        const response = await child.ask(message, timeoutMs + GRACE_MS);
        return (response as Extract<PlannerResponse, { type: 'planned' }>).plan;
      } finally {
        charge(performance.now() - started);
      }
    });
  }

  /** Ends the process. What it was planning fails. */
  close(): void {
    this.#isClosed = true;
    this.#child?.kill();
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #childWith({ id, sdl }: SupergraphText): Promise<PlannerChild> {
    if (this.#isClosed) throw new PlanningError('failed', 'The gateway is closing.');
    if (!this.#child || this.#child.hasEnded) this.#child = new PlannerChild(this.#planner, this.#options.maxMemoryMb);
    const child = this.#child;
    if (child.supergraphs.delete(id)) child.supergraphs.add(id);
    else {
      await child.ask({ type: 'load', supergraph: id, sdl }, LOAD_TIMEOUT_MS);
      child.supergraphs.add(id);
      const [oldest] = child.supergraphs;
      if (child.supergraphs.size > MAX_SUPERGRAPHS && oldest !== undefined) {
        child.supergraphs.delete(oldest);
        child.send({ type: 'unload', supergraph: oldest });
      }
    }
    return child;
  }
}

/** One run of the process. */
class PlannerChild {
  /** The ids of the supergraphs that it holds, the one that was used last at the end. */
  readonly supergraphs = new Set<string>();
  readonly #planner: PlannerName;
  readonly #process: ChildProcess;
  #stderr = '';
  #hasEnded = false;
  #settle: ((response: PlannerResponse) => void) | null = null;

  constructor(planner: PlannerName, maxMemoryMb: number) {
    this.#planner = planner;
    this.#process = fork(PROGRAM, [planner, String(maxMemoryMb)], {
      execArgv: [`--max-old-space-size=${maxMemoryMb}`],
      // It needs none of the gateway's settings, and is not given its secrets.
      env: { NODE_ENV: process.env.NODE_ENV, LD_LIBRARY_PATH: process.env.LD_LIBRARY_PATH },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#process.on('message', (response: PlannerResponse) => this.#respond(response));
    this.#process.stderr?.setEncoding('utf8').on('data', (text) => {
      this.#stderr = (this.#stderr + text).slice(-MAX_STDERR);
    });
    this.#process.on('error', (error) => this.#end(error.message));
    // Not before its standard error is read.
    this.#process.on('close', (code, signal) => this.#end(signal ?? `code ${code}`, code === OUT_OF_MEMORY));
    this.#process.unref();
    this.#process.channel?.unref();
    (this.#process.stderr as unknown as { unref?(): void } | null)?.unref?.();
  }

  get hasEnded(): boolean {
    return this.#hasEnded || !this.#process.connected;
  }

  /** Sends a request and resolves to its response; the process is killed when there is none in time. @throws PlanningError */
  ask(request: PlannerRequest, timeoutMs: number): Promise<PlannerResponse> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.kill();
        this.#respond({ type: 'failed', failure: 'expensive', message: `It took more than ${timeoutMs} ms.` });
      }, timeoutMs);
      this.#settle = (response) => {
        clearTimeout(timer);
        this.#process.channel?.unref();
        if (response.type === 'failed') reject(new PlanningError(response.failure, response.message));
        else resolve(response);
      };
      // While someone waits, the gateway does not end.
      this.#process.channel?.ref();
      this.send(request);
    });
  }

  send(request: PlannerRequest): void {
    // A process that has ended meanwhile is reported by its end.
    this.#process.send(request, () => undefined);
  }

  kill(): void {
    this.#hasEnded = true;
    this.#process.kill('SIGKILL');
  }

  #respond(response: PlannerResponse): void {
    this.#settle?.(response);
    this.#settle = null;
  }

  #end(how: string, isOutOfMemory = false): void {
    this.#hasEnded = true;
    const isExpensive = isOutOfMemory || this.#stderr.includes('heap out of memory');
    const [reason = ''] = /panicked at .*\n.*/.exec(this.#stderr) ?? [this.#stderr.trim().slice(0, 500)];
    this.#respond({
      type: 'failed',
      failure: isExpensive ? 'expensive' : 'crashed',
      message: isExpensive
        ? 'It took too much memory.'
        : `The process of the ${this.#planner} planner ended (${how}): ${reason.replace(/\s+/g, ' ')}`,
    });
  }
}
