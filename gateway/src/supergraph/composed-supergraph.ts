import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SupergraphManager, SupergraphSdlHook } from '@apollo/gateway';
import { Fault } from '@tributary/server';
import type { Logger } from 'pino';
import type { Subgraph } from '../subgraph/subgraph-client.js';
import { FetchError } from '../subgraph/subgraph-data-source.js';
import { composeLargest, composeSchemas, type Schemas } from './compose-schemas.js';
import type { LastSupergraph } from './last-supergraph.js';
import { readSchema } from './read-schema.js';
import { SteadySchema } from './steady-schema.js';

const FIRST_RETRY_MS = 250;
/** While a subgraph does not answer, it is asked at least so often. */
const LONGEST_RETRY_MS = 2000;
/** So often, at the least, it is looked whether a subgraph goes on to answer with a schema that is not served yet. */
const HELD_POLL_MS = 5000;
/** While subgraphs are being asked, what has come is looked at so often. */
const LOOK_MS = 100;
/** Subgraphs have so long to answer at the start before the supergraph that was served last is. */
const LAST_AFTER_MS = 1000;
/** Without one, so long before a supergraph of those that answer is served. */
const PARTIAL_AFTER_MS = 3000;
const MAX_PROBLEM_LENGTH = 1000;
/** What is over within this time, at a start for example, is not logged. */
const FAULT_PATIENCE_MS = 1000;
/** Of a subgraph that neither answered nor failed since the start. */
const NOT_ANSWERED = 'it has not answered yet';

type Hooks = Parameters<SupergraphSdlHook>[0];

export interface ComposedSupergraphOptions {
  readonly subgraphs: readonly Subgraph[];
  readonly pollIntervalMs: number;
  readonly logger: Logger;
  /** What was served last, also by earlier processes; null when that is not kept. */
  readonly last: LastSupergraph | null;
}

/** A subgraph, and what is known of its schema. */
interface Source extends Subgraph {
  readonly steady: SteadySchema;
  readonly alternating: Fault;
  /** As it said last, here or to the process that kept it; null when it is not known. */
  schema: string | null;
  /** When the kept supergraph was composed that the schema is from; null when the subgraph said it here. */
  keptAt: string | null;
  /** Why the newest attempt to read it failed; null when it did not. */
  failure: string | null;
  /** Whether the data source reports that failure. */
  isReported: boolean;
}

/**
 * Keeps a supergraph composed from running subgraphs, and notices when a schema changes. A subgraph that does not answer has the part that it
 * had before; where that is not known, a supergraph is composed without it. What does not compose is reported, and the supergraph
 * that was composed last stays.
 */
export class ComposedSupergraph implements SupergraphManager {
  readonly #sources: readonly Source[];
  readonly #pollIntervalMs: number;
  readonly #last: LastSupergraph | null;
  readonly #fault: Fault;
  readonly #stopped = new AbortController();
  readonly #startedAt = performance.now();
  #serve: (supergraphSdl: string) => void = () => undefined;
  /** What was composed last, and why it is not served, if it is not. */
  #attempted = '';
  #attemptProblem: string | null = null;
  #composedAt: string | null = null;
  #servedSchemas: Schemas | null = null;
  #problem: string | null = null;

  constructor({ subgraphs, pollIntervalMs, logger, last }: ComposedSupergraphOptions) {
    this.#sources = subgraphs.map(({ name, url }) => ({
      name,
      url,
      steady: new SteadySchema(pollIntervalMs, () => performance.now()),
      alternating: new Fault({
        logger,
        began: 'the schema of a subgraph alternates: an earlier one is served again when no other is seen for a while',
        ended: 'the schema of the subgraph does not alternate any more',
        details: { subgraph: name },
      }),
      schema: null,
      keptAt: null,
      failure: NOT_ANSWERED,
      isReported: false,
    }));
    this.#pollIntervalMs = pollIntervalMs;
    this.#last = last;
    this.#fault = new Fault({
      logger,
      began: 'the supergraph is not composed of what all subgraphs say now',
      ended: 'the supergraph is composed of what all subgraphs say now',
      patienceMs: FAULT_PATIENCE_MS,
    });
  }

  /** Why the supergraph that is served, if any, is not composed of what all subgraphs say now; null when it is. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Resolves when there is something to serve. @throws when it is stopped before */
  async initialize(hooks: Hooks): Promise<{ supergraphSdl: string; cleanup: () => Promise<void> }> {
    const first = new Promise<string>((resolve) => {
      this.#serve = resolve;
    });
    const following = this.#follow(hooks);
    const supergraphSdl = await Promise.race([first, following]);
    if (supergraphSdl === undefined) throw new Error('Stopped before a supergraph could be composed.');
    this.#serve = hooks.update;
    return {
      supergraphSdl,
      cleanup: async () => {
        this.stop();
        await following;
      },
    };
  }

  /** Ends the waiting, too. */
  stop(): void {
    this.#stopped.abort();
    for (const { alternating } of this.#sources) alternating.stop();
    this.#fault.stop();
  }

  /** Reads all schemas, again and again, until it is stopped. */
  async #follow(hooks: Hooks): Promise<undefined> {
    const { signal } = this.#stopped;
    const pause = (ms: number) => sleep(ms, undefined, { signal }).catch(() => undefined);
    let failures = 0;
    while (!signal.aborted) {
      const reading = { isOver: false };
      const all = Promise.all(this.#sources.map((source) => this.#read(hooks, source))).then(() => {
        reading.isOver = true;
      });
      while (!reading.isOver && !signal.aborted) {
        await Promise.race([all, pause(LOOK_MS)]);
        if (!signal.aborted) await this.#update(reading.isOver);
      }
      const isWell = this.#sources.every(({ failure }) => failure === null);
      failures = isWell ? 0 : failures + 1;
      const isHeld = this.#sources.some(({ steady }) => steady.holds);
      const wellMs = isHeld ? HELD_POLL_MS : Number.POSITIVE_INFINITY;
      const retryMs = Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), LONGEST_RETRY_MS);
      await pause(Math.min(isWell ? wellMs : retryMs, this.#pollIntervalMs));
    }
    return undefined;
  }

  /** Reads the schema of a subgraph. Never throws. */
  async #read(hooks: Hooks, source: Source): Promise<void> {
    const { name, url, steady, alternating } = source;
    try {
      const dataSource = hooks.getDataSource({ name, url });
      const sdl = await readSchema(dataSource);
      source.schema = steady.choose(sdl);
      source.keptAt = null;
      source.failure = null;
      if (this.#stopped.signal.aborted) return;
      if (steady.alternates) alternating.failed('it answered with schemas that replaced each other lately');
      else alternating.worked();
    } catch (error) {
      source.failure = (error as Error).message;
      source.isReported = error instanceof FetchError && error.isOutage;
    }
  }

  /** Serves what can be served now. @param isOver whether every subgraph answered, or failed to */
  async #update(isOver: boolean): Promise<void> {
    const waitedMs = performance.now() - this.#startedAt;
    const missing = this.#sources.filter(({ failure }) => failure !== null);
    if (missing.length === 0) this.#compose(this.#known(), missing);
    else if (!this.#servesPart) {
      if (isOver) this.#compose(this.#known(), missing);
    } else {
      // While a part is served already, a Redis that does not answer holds up nothing.
      const asksLast = isOver || (!this.#servedSchemas && waitedMs >= LAST_AFTER_MS);
      const last = asksLast ? await this.#last?.read() : null;
      if (last) {
        for (const source of missing) {
          if (source.schema !== null) continue;
          source.schema = last.schemas.get(source.name) ?? null;
          source.keptAt = last.composedAt;
        }
        this.#compose(this.#known(), missing);
        // Together they may not compose; what was served then does.
        if (this.#servesPart) this.#compose(last.schemas, missing, last.composedAt);
      } else if (waitedMs >= PARTIAL_AFTER_MS && missing.length < this.#sources.length) {
        this.#composeLargest();
      }
    }
    if (this.#stopped.signal.aborted) return;
    this.#report(this.#describe(missing), this.#saysNothingNew(missing, waitedMs));
    this.#keep();
  }

  #known(): Schemas {
    return new Map(this.#sources.flatMap(({ name, schema }) => (schema === null ? [] : [[name, schema] as const])));
  }

  /** Whether what is served, if anything, lacks a subgraph. */
  get #servesPart(): boolean {
    return (this.#servedSchemas?.size ?? 0) < this.#sources.length;
  }

  /** Composes and serves schemas, unless that was done already. */
  #compose(schemas: Schemas, missing: readonly Source[], composedAt = this.#composesAt): void {
    if (!this.#isNewAttempt(schemas)) return;
    try {
      this.#use(composeSchemas(this.#sources, schemas), schemas, composedAt);
      this.#attemptProblem = null;
    } catch (error) {
      // Without what is missing it need not compose.
      this.#attemptProblem = missing.length > 0 && !this.#servedSchemas ? null : (error as Error).message;
    }
  }

  /** Composes and serves as many of the known schemas as compose together, unless that was done already. */
  #composeLargest(): void {
    const known = this.#known();
    if (!this.#isNewAttempt(known)) return;
    try {
      const { supergraphSdl, schemas, problem } = composeLargest(this.#sources, known);
      // It only ever grows; a change that would take a subgraph away waits, as it does when none is missing.
      if (schemas.size >= (this.#servedSchemas?.size ?? 0)) this.#use(supergraphSdl, schemas, this.#composesAt);
      this.#attemptProblem = problem && this.#whyLeftOut(known, schemas, problem);
    } catch (error) {
      this.#attemptProblem = (error as Error).message;
    }
  }

  #isNewAttempt(schemas: Schemas): boolean {
    const attempt = JSON.stringify([...schemas]);
    if (attempt === this.#attempted) return false;
    this.#attempted = attempt;
    return true;
  }

  /** @throws when it cannot be served */
  #use(supergraphSdl: string, schemas: Schemas, composedAt: string): void {
    this.#serve(supergraphSdl);
    this.#composedAt = composedAt;
    this.#servedSchemas = schemas;
    for (const { name, steady } of this.#sources) {
      const schema = schemas.get(name);
      if (schema !== undefined) steady.serve(schema);
    }
  }

  /** What holds a part of a kept supergraph is as old as that one. */
  get #composesAt(): string {
    return this.#sources.find(({ keptAt }) => keptAt !== null)?.keptAt ?? new Date().toISOString();
  }

  #whyLeftOut(known: Schemas, composed: Schemas, problem: string): string {
    const unknown = this.#sources.filter(({ name }) => !known.has(name));
    const leftOut = this.#sources.filter(({ name }) => known.has(name) && !composed.has(name));
    const without = unknown.length === 0 ? '' : `without ${list(unknown)}, `;
    return `${without}${list(leftOut)} ${leftOut.length > 1 ? 'do' : 'does'} not compose: ${problem}`;
  }

  #describe(missing: readonly Source[]): string | null {
    const served = this.#servedSchemas;
    const failures = missing.map(({ failure }) => failure).join(' ');
    if (!served) {
      const waiting = missing.map(
        ({ name, url, failure }) => `the schema of "${name}" at ${url} could not be read: ${failure}`,
      );
      return this.#attemptProblem ?? (waiting.join(' ') || null);
    }
    const reasons = [
      ...(this.#attemptProblem === null ? [] : [this.#attemptProblem]),
      ...(missing.length === 0
        ? []
        : [`${list(missing)} ${missing.length > 1 ? 'do' : 'does'} not answer: ${failures}`]),
    ];
    if (reasons.length === 0) return null;
    const absent = this.#sources.filter(({ name }) => !served.has(name));
    const without = absent.length === 0 ? '' : ` without ${list(absent)}`;
    return `composed at ${this.#composedAt}${without}; ${reasons.join('; ')}`;
  }

  /** Keeps what is served, for the next start. A supergraph that lacks a subgraph is not kept. */
  #keep(): void {
    const schemas = this.#servedSchemas;
    if (!this.#last || !schemas || this.#servesPart) return;
    void this.#last.write({ composedAt: this.#composedAt ?? '', schemas });
  }

  /** Whether nothing is wrong but what is reported elsewhere, or is no failure yet. */
  #saysNothingNew(missing: readonly Source[], waitedMs: number): boolean {
    const isExcused = ({ failure, isReported }: Source) =>
      failure === NOT_ANSWERED ? !this.#servesPart || waitedMs < PARTIAL_AFTER_MS : isReported && !this.#servesPart;
    return this.#attemptProblem === null && missing.every(isExcused);
  }

  /** @param isQuiet whether the problem is none that makes a line in the log; one that is in it already stays until it is over */
  #report(problem: string | null, isQuiet: boolean): void {
    this.#problem = problem === null ? null : problem.slice(0, MAX_PROBLEM_LENGTH);
    if (this.#problem === null || (isQuiet && this.#fault.cause === null)) this.#fault.worked();
    else this.#fault.failed(this.#problem);
  }
}

function list(subgraphs: readonly Subgraph[]): string {
  return subgraphs.map(({ name }) => name).join(', ');
}
