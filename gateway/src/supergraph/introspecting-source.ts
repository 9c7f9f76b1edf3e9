import { Fault, type Time } from '@tributary/server';
import type { Logger } from 'pino';
import { FetchError, type Subgraph } from '../subgraph/index.js';
import { composeLargest, composeSchemas, type Schemas } from './compose-schemas.js';
import type { ServeSupergraph, SupergraphSource } from './source.js';
import { SteadySchema } from './steady-schema.js';
import type { SupergraphFallback } from './supergraph-fallback.js';

const FIRST_RETRY_MS = 250;
/** Longest pause between attempts to read the schema of a subgraph that does not respond. */
const LONGEST_RETRY_MS = 2000;
/** Longest pause while a subgraph responds with a schema that is not served yet. */
const HELD_POLL_MS = 5000;
/** Interval at which schemas that have arrived are composed, while others are still being read. */
const LOOK_MS = 100;
/** Time for subgraphs to respond at the start before the fallback is served. */
const FALLBACK_AFTER_MS = 1000;
/** Without a fallback, time before a supergraph of those that respond is served. */
const PARTIAL_AFTER_MS = 3000;
const MAX_PROBLEM_LENGTH = 1000;
/** A problem that lasts no longer, at a start for example, is not logged. */
const FAULT_PATIENCE_MS = 1000;
/** The failure of a subgraph that neither responded nor failed since the start. */
const NOT_ANSWERED = 'it has not answered yet';

export interface IntrospectingSourceOptions {
  /** With URLs that hold no credentials. */
  readonly subgraphs: readonly Subgraph[];
  /** Reads the schema (SDL) of a subgraph. */
  readonly readSchema: (subgraph: Subgraph) => Promise<string>;
  readonly pollIntervalMs: number;
  readonly logger: Logger;
  /** The supergraph that was served last, also by earlier processes; null when none is stored. */
  readonly fallback: SupergraphFallback | null;
  readonly time: Time;
}

/** A subgraph and the state of its schema. */
interface SchemaState extends Subgraph {
  readonly steady: SteadySchema;
  readonly alternating: Fault;
  /** The newest schema that this process or the fallback's writer has read; null when there is none. */
  schema: string | null;
  /** When the fallback was composed that the schema is from; null when this process has read it. */
  storedAt: string | null;
  /** Why the newest attempt to read the schema failed; null when it succeeded. */
  failure: string | null;
  /** Whether the subgraph's client reports that failure. */
  isReported: boolean;
}

/**
 * Composes a supergraph of running subgraphs, and again when one of their schemas changes. While a subgraph does not respond, its part stays
 * as it was; if its schema was never read, the supergraph is composed without it. Schemas that do not compose, or whose supergraph cannot be
 * served, are reported, and the supergraph that was served before stays.
 *
 * IntrospectAndCompose composes; reading is done here, because IntrospectAndCompose gives up when one subgraph does not respond, and polls
 * at one interval.
 */
export class IntrospectingSource implements SupergraphSource {
  readonly #sources: readonly SchemaState[];
  readonly #pollIntervalMs: number;
  readonly #readSchema: IntrospectingSourceOptions['readSchema'];
  readonly #fallback: SupergraphFallback | null;
  readonly #time: Time;
  readonly #fault: Fault;
  readonly #stopped = new AbortController();
  #startedAt = 0;
  #following: Promise<void> = Promise.resolve();
  #serve: ServeSupergraph = () => Promise.resolve();
  /** The schemas that were composed last, and why the result is not served, if it is not. */
  #attempted = '';
  #attemptProblem: string | null = null;
  #composedAt: string | null = null;
  #servedSchemas: Schemas | null = null;
  #problem: string | null = null;

  constructor({ subgraphs, readSchema, pollIntervalMs, logger, fallback, time }: IntrospectingSourceOptions) {
    this.#sources = subgraphs.map(({ name, url }) => ({
      name,
      url,
      steady: new SteadySchema(pollIntervalMs, () => time.monotonic()),
      alternating: new Fault({
        logger,
        began: 'the schema of a subgraph alternates: an earlier one is served again when no other is seen for a while',
        ended: 'the schema of the subgraph does not alternate any more',
        details: { subgraph: name },
      }),
      schema: null,
      storedAt: null,
      failure: NOT_ANSWERED,
      isReported: false,
    }));
    this.#pollIntervalMs = pollIntervalMs;
    this.#readSchema = readSchema;
    this.#fallback = fallback;
    this.#time = time;
    this.#fault = new Fault({
      logger,
      began: 'the supergraph does not include the current schemas of all subgraphs',
      ended: 'the supergraph includes the current schemas of all subgraphs',
      patienceMs: FAULT_PATIENCE_MS,
    });
  }

  /** Why the served supergraph, if any, is not composed of the present schemas of all subgraphs; null when it is. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Resolves when the first supergraph is served, or when the source is stopped before. */
  async start(onSupergraph: ServeSupergraph): Promise<void> {
    this.#startedAt = this.#time.monotonic();
    const first = new Promise<void>((resolve) => {
      this.#serve = async (supergraphSdl) => {
        await onSupergraph(supergraphSdl);
        resolve();
      };
    });
    this.#following = this.#follow();
    await Promise.race([first, this.#following]);
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    for (const { alternating } of this.#sources) alternating.stop();
    this.#fault.stop();
    await this.#following;
  }

  /** Reads all schemas, again and again, until it is stopped. */
  async #follow(): Promise<void> {
    const { signal } = this.#stopped;
    const pause = (ms: number) => this.#time.sleep(ms, signal).catch(() => undefined);
    let failures = 0;
    while (!signal.aborted) {
      const reading = { isOver: false };
      const all = Promise.all(this.#sources.map((source) => this.#read(source))).then(() => {
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
  }

  /** Reads the schema of a subgraph. Never throws. */
  async #read(source: SchemaState): Promise<void> {
    const { name, url, steady, alternating } = source;
    try {
      const sdl = await this.#readSchema({ name, url });
      source.schema = steady.choose(sdl);
      source.storedAt = null;
      source.failure = null;
      if (this.#stopped.signal.aborted) return;
      if (steady.alternates) alternating.failed('it answered with schemas that replaced each other lately');
      else alternating.worked();
    } catch (error) {
      source.failure = (error as Error).message;
      source.isReported = error instanceof FetchError && error.isOutage;
    }
  }

  /** Serves what can be served now. @param isOver whether every subgraph responded or failed */
  async #update(isOver: boolean): Promise<void> {
    const waitedMs = this.#time.monotonic() - this.#startedAt;
    const missing = this.#sources.filter(({ failure }) => failure !== null);
    if (missing.length === 0) await this.#compose(this.#schemas, missing);
    else if (!this.#servesPart) {
      if (isOver) await this.#compose(this.#schemas, missing);
    } else {
      // While a part is served already, a slow Redis delays nothing.
      const readsFallback = isOver || (!this.#servedSchemas && waitedMs >= FALLBACK_AFTER_MS);
      const fallback = readsFallback ? await this.#fallback?.read() : null;
      if (fallback) {
        for (const source of missing) {
          if (source.schema !== null) continue;
          source.schema = fallback.schemas.get(source.name) ?? null;
          source.storedAt = fallback.composedAt;
        }
        await this.#compose(this.#schemas, missing);
        // Together they may not compose; the schemas of the fallback do.
        if (this.#servesPart) await this.#compose(fallback.schemas, missing, fallback.composedAt);
      } else if (waitedMs >= PARTIAL_AFTER_MS && missing.length < this.#sources.length) {
        await this.#composeLargest();
      }
    }
    if (this.#stopped.signal.aborted) return;
    this.#report(this.#describe(missing), this.#isReportedElsewhere(missing, waitedMs));
    this.#store();
  }

  /** The newest schema of each subgraph that has one. */
  get #schemas(): Schemas {
    return new Map(this.#sources.flatMap(({ name, schema }) => (schema === null ? [] : [[name, schema] as const])));
  }

  /** Whether the served supergraph, if any, lacks a subgraph. */
  get #servesPart(): boolean {
    return (this.#servedSchemas?.size ?? 0) < this.#sources.length;
  }

  /** Composes and serves schemas, unless they were tried already. */
  async #compose(schemas: Schemas, missing: readonly SchemaState[], composedAt = this.#composesAt): Promise<void> {
    if (!this.#isNewAttempt(schemas)) return;
    try {
      await this.#use(await composeSchemas(this.#sources, schemas), schemas, composedAt);
      this.#attemptProblem = null;
    } catch (error) {
      // The schemas may need those that are missing.
      this.#attemptProblem = missing.length > 0 && !this.#servedSchemas ? null : (error as Error).message;
    }
  }

  /** Composes and serves as many schemas as compose together, unless they were tried already. */
  async #composeLargest(): Promise<void> {
    const schemas = this.#schemas;
    if (!this.#isNewAttempt(schemas)) return;
    try {
      const { supergraphSdl, schemas: composed, problem } = await composeLargest(this.#sources, schemas);
      // The supergraph only grows here: a change that would remove a subgraph waits until all schemas compose.
      if (composed.size >= (this.#servedSchemas?.size ?? 0)) await this.#use(supergraphSdl, composed, this.#composesAt);
      this.#attemptProblem = problem && this.#whyLeftOut(schemas, composed, problem);
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
  async #use(supergraphSdl: string, schemas: Schemas, composedAt: string): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    await this.#serve(supergraphSdl);
    this.#composedAt = composedAt;
    this.#servedSchemas = schemas;
    for (const { name, steady } of this.#sources) {
      const schema = schemas.get(name);
      if (schema !== undefined) steady.serve(schema);
    }
  }

  /** A supergraph with a part of the fallback is as old as the fallback. */
  get #composesAt(): string {
    return this.#sources.find(({ storedAt }) => storedAt !== null)?.storedAt ?? new Date().toISOString();
  }

  #whyLeftOut(schemas: Schemas, composed: Schemas, problem: string): string {
    const missing = this.#sources.filter(({ name }) => !schemas.has(name));
    const leftOut = this.#sources.filter(({ name }) => schemas.has(name) && !composed.has(name));
    const without = missing.length === 0 ? '' : `without ${list(missing)}, `;
    return `${without}${list(leftOut)} ${leftOut.length > 1 ? 'do' : 'does'} not compose: ${problem}`;
  }

  #describe(missing: readonly SchemaState[]): string | null {
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

  /** Stores the served supergraph for the next start, unless it lacks a subgraph. */
  #store(): void {
    const schemas = this.#servedSchemas;
    if (!this.#fallback || !schemas || this.#servesPart) return;
    void this.#fallback.write({ composedAt: this.#composedAt ?? '', schemas });
  }

  /** Whether every problem is reported elsewhere, or is no failure yet. */
  #isReportedElsewhere(missing: readonly SchemaState[], waitedMs: number): boolean {
    const isExcused = ({ failure, isReported }: SchemaState) =>
      failure === NOT_ANSWERED ? !this.#servesPart || waitedMs < PARTIAL_AFTER_MS : isReported && !this.#servesPart;
    return this.#attemptProblem === null && missing.every(isExcused);
  }

  /** @param isQuiet whether the problem alone is not logged; a problem that was logged stays until it is over */
  #report(problem: string | null, isQuiet: boolean): void {
    this.#problem = problem === null ? null : problem.slice(0, MAX_PROBLEM_LENGTH);
    if (this.#problem === null || (isQuiet && this.#fault.cause === null)) this.#fault.worked();
    else this.#fault.failed(this.#problem);
  }
}

function list(subgraphs: readonly Subgraph[]): string {
  return subgraphs.map(({ name }) => name).join(', ');
}
