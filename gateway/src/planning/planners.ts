import { createHash } from 'node:crypto';
import { ApiError } from '@tributary/server';
import { type DocumentNode, GraphQLError, print } from 'graphql';
import type { Logger } from 'pino';
import { PlanningError } from './planner-messages.js';
import { PlannerProcess, type SupergraphText } from './planner-process.js';
import type {
  PlannedOperation,
  PlannerChoice,
  PlannerName,
  PlanningOptions,
  QueryPlanner,
  QueryPlanners,
} from './query-planner.js';

/** Features of a supergraph that only Apollo's planner supports. */
const APOLLO_ONLY: readonly (readonly [pattern: RegExp, feature: string])[] = [
  [/@link\([^)]*url:\s*"https:\/\/specs\.apollo\.dev\/context\//, '@context'],
];
/** Failures of a native planner's process that say nothing about the supergraph that it loads. */
const TRANSIENT = ['crashed', 'expensive'];
/** Time after which a supergraph is loaded into the native planner again, where that failed for such a reason. */
const RETRY_MS = 60_000;
/** The native planner plans in milliseconds; what takes it this long, Apollo's may plan in less. */
const NATIVE_TIMEOUT_MS = 1000;

/** Bound on the memory of each planner's process, in MiB; in a container a third of its limit, if that is less. */
const MAX_MEMORY_MB = 512;
const MIN_MEMORY_MB = 128;

export interface PlannersOptions {
  /** Forces a planner; without it, the native one plans what it can, and Apollo's the rest. */
  readonly planner?: PlannerName | undefined;
  /** The longest time that one planning may take. */
  readonly timeoutMs: number;
  readonly logger: Logger;
}

/** The planners of a gateway, for all of its supergraphs: each runs in a process of its own, which starts when it is first needed. */
export class Planners {
  readonly #options: PlannersOptions;
  readonly #processes: Readonly<Record<PlannerName, PlannerProcess>>;

  constructor(options: PlannersOptions) {
    this.#options = options;
    const { timeoutMs } = options;
    this.#processes = {
      native: new PlannerProcess('native', {
        timeoutMs: options.planner === 'native' ? timeoutMs : Math.min(timeoutMs, NATIVE_TIMEOUT_MS),
        maxMemoryMb: memoryBound(),
      }),
      apollo: new PlannerProcess('apollo', { timeoutMs, maxMemoryMb: memoryBound() }),
    };
  }

  /** Creates the planners of a supergraph, and starts to load it. */
  of(supergraphSdl: string): QueryPlanners {
    const { planner: forced, logger } = this.#options;
    const create = (sdl: string) => {
      const id = createHash('sha256').update(sdl).digest('base64url');
      return new SupergraphPlanner({ id, sdl }, this.#processes, forced, logger);
    };
    const planner = create(supergraphSdl);
    return {
      planner,
      authoritative: supergraphSdl.includes(' provides: "') ? create(withoutProvides(supergraphSdl)) : null,
      load: () => planner.load(),
    };
  }

  /** Ends the processes. */
  close(): void {
    for (const process of Object.values(this.#processes)) process.close();
  }
}

/** Plans the operations of one supergraph with the native planner, and what it cannot plan with Apollo's. */
class SupergraphPlanner implements QueryPlanner {
  readonly #supergraph: SupergraphText;
  readonly #processes: Readonly<Record<PlannerName, PlannerProcess>>;
  readonly #forced: PlannerName | undefined;
  readonly #logger: Logger;
  #choice: Promise<PlannerChoice> | null = null;

  constructor(
    supergraph: SupergraphText,
    processes: Readonly<Record<PlannerName, PlannerProcess>>,
    forced: PlannerName | undefined,
    logger: Logger,
  ) {
    this.#supergraph = supergraph;
    this.#processes = processes;
    this.#forced = forced;
    this.#logger = logger;
  }

  /** Loads the supergraph, once, and chooses its planner. @throws Error when no planner can load it */
  load(): Promise<PlannerChoice> {
    if (!this.#choice) {
      this.#choice = this.#choose();
      // Tried again with the next operation.
      this.#choice.catch(() => {
        this.#choice = null;
      });
    }
    return this.#choice;
  }

  async plan(operation: DocumentNode, { conditions, overrides, charge }: PlanningOptions): Promise<PlannedOperation> {
    const request = { document: print(operation), conditions, overrides: Object.fromEntries(overrides) };
    let costMs = 0;
    const plan = async (planner: PlannerName): Promise<PlannedOperation> => ({
      plan: await this.#processes[planner].plan(this.#supergraph, request, (ms) => {
        costMs += ms;
        charge(costMs);
      }),
      planner,
    });
    try {
      const { name } = await this.load();
      if (name === 'apollo' || this.#forced) return await plan(name);
      try {
        return await plan('native');
      } catch (error) {
        if (!(error instanceof PlanningError)) throw error;
        const planned = await plan('apollo');
        this.#logger.info(
          { reason: error.message },
          "Apollo's planner planned an operation that the native one could not",
        );
        return { ...planned, reason: error.message };
      }
    } catch (error) {
      throw clientError(error);
    }
  }

  async #choose(): Promise<PlannerChoice> {
    const { sdl } = this.#supergraph;
    const [, feature] = APOLLO_ONLY.find(([pattern]) => pattern.test(sdl)) ?? [];
    if (this.#forced || feature) {
      const name = this.#forced ?? 'apollo';
      await this.#processes[name].load(this.#supergraph);
      const reason = this.#forced ? `QUERY_PLANNER=${name}` : `the native planner does not support ${feature}`;
      return { name, reason: name === 'native' ? null : reason };
    }
    const isTransient = (error: unknown) => error instanceof PlanningError && TRANSIENT.includes(error.failure);
    const load = () => this.#processes.native.load(this.#supergraph);
    try {
      await load().catch((error) => {
        if (!isTransient(error)) throw error;
        return load();
      });
      return { name: 'native', reason: null };
    } catch (error) {
      await this.#processes.apollo.load(this.#supergraph);
      if (isTransient(error)) this.#chooseAgainLater();
      return { name: 'apollo', reason: (error as Error).message };
    }
  }

  #chooseAgainLater(): void {
    setTimeout(() => {
      this.#choice = null;
    }, RETRY_MS).unref();
  }
}

/** An error as the client may see it. The planner's own message contains internals of the subgraphs, so it is only logged. */
function clientError(error: unknown): unknown {
  if (!(error instanceof PlanningError)) return error;
  if (error.failure === 'refused') return new GraphQLError(error.message);
  if (error.failure === 'expensive') {
    const message = 'Planning this operation takes too much time or memory; split it into smaller ones.';
    return new ApiError('COST_LIMIT', message, { reason: 'PLANNING' });
  }
  const message = 'The query planner failed for this operation; the cause is in the log.';
  return Object.assign(new ApiError('INTERNAL_SERVER_ERROR', message, { reason: 'PLANNING' }), { cause: error });
}

function memoryBound(): number {
  const limit = process.constrainedMemory?.() || Number.POSITIVE_INFINITY;
  return Math.max(MIN_MEMORY_MB, Math.min(MAX_MEMORY_MB, Math.floor(limit / 3 / 1024 / 1024)));
}

function withoutProvides(supergraphSdl: string): string {
  return supergraphSdl.replace(/, provides: "(?:[^"\\]|\\.)*"/g, '');
}
