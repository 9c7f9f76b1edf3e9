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
/** Failures of the native planner after which Apollo's plans the operation. What takes too much would take more there. */
const RECOVERABLE = ['failed', 'crashed', 'unavailable'];

/** Bound on the memory of each planner's process, in MiB. */
const MAX_MEMORY_MB = 1024;

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
      native: new PlannerProcess('native', { timeoutMs, maxMemoryMb: MAX_MEMORY_MB }),
      apollo: new PlannerProcess('apollo', { timeoutMs, maxMemoryMb: MAX_MEMORY_MB }),
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

  async plan(operation: DocumentNode, { conditions, overrides }: PlanningOptions): Promise<PlannedOperation> {
    const request = { document: print(operation), conditions, overrides: Object.fromEntries(overrides) };
    try {
      const { name } = await this.load();
      const plan = (planner: PlannerName) => this.#processes[planner].plan(this.#supergraph, request);
      if (name === 'apollo' || this.#forced) return { plan: await plan(name), planner: name };
      try {
        return { plan: await plan('native'), planner: 'native' };
      } catch (error) {
        if (!(error instanceof PlanningError) || !RECOVERABLE.includes(error.failure)) throw error;
        const planned = await plan('apollo');
        this.#logger.info(
          { reason: error.message },
          "Apollo's planner planned an operation that the native one could not",
        );
        return { plan: planned, planner: 'apollo', reason: error.message };
      }
    } catch (error) {
      throw clientError(error);
    }
  }

  async #choose(): Promise<PlannerChoice> {
    const { sdl } = this.#supergraph;
    const [, feature] = APOLLO_ONLY.find(([pattern]) => pattern.test(sdl)) ?? [];
    let name: PlannerName = this.#forced ?? (feature ? 'apollo' : 'native');
    let reason = this.#forced === 'apollo' ? 'QUERY_PLANNER=apollo' : null;
    if (!this.#forced && feature) reason = `the native planner does not support ${feature}`;
    try {
      await this.#processes[name].load(this.#supergraph);
    } catch (error) {
      if (name === 'apollo' || this.#forced) throw error;
      name = 'apollo';
      reason = (error as Error).message;
      await this.#processes.apollo.load(this.#supergraph);
    }
    return { name, reason };
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

function withoutProvides(supergraphSdl: string): string {
  return supergraphSdl.replace(/, provides: "(?:[^"\\]|\\.)*"/g, '');
}
