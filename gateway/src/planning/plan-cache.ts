import { ApiError } from '@tributary/server';
import { LRUCache } from 'lru-cache';
import type { DocumentCache, Operation } from '../operation/index.js';
import type { OverrideLabels } from './override-labels.js';
import { PlanningError } from './planner-messages.js';
import type { PlanningQueue } from './planning-queue.js';
import type { QueryPlan } from './query-plan.js';
import type { PlannedOperation, QueryPlanner, QueryPlanners } from './query-planner.js';

type Variables = Readonly<Record<string, unknown>>;
/** Says what a planning cost, in milliseconds. */
type Charge = (ms: number) => void;

/** A query plan with its planner, and the function that executes it; null when no subgraph is needed. */
export interface CompiledPlan<Run> extends PlannedOperation {
  readonly run: Run | null;
}

/** An operation, planned and compiled for one set of conditions; a request only runs it. */
export interface PreparedOperation<Run, Output> extends CompiledPlan<Run> {
  /** What was compiled to complete and write the response. */
  readonly output: Output;
  /** The estimated memory of its plans, in bytes. */
  planWeight: number;
  /** How many requests have used it. */
  uses: number;
  /** The plan that resolves every field in the subgraph that owns it; null: `plan` does so already; undefined: not planned yet. */
  authoritative?: CompiledPlan<Run> | null;
}

/** What a prepared operation was planned for, so that it can be planned again, also on another supergraph. */
export interface PlanVariant {
  /** For each variable in `@skip` and `@include`, by its order in the operation: `1` true, `0` false, `-` neither. */
  readonly conditions: string;
  /** Which labels of progressive `@override`s are on. */
  readonly overrides: Readonly<Record<string, boolean>>;
  /** Whether the authoritative plan is needed, too. */
  readonly authoritative: boolean;
}

export interface PlanCacheOptions<Run, Output> {
  readonly planners: QueryPlanners;
  /** Where the prepared operations are stored, with the operations that they belong to. */
  readonly operations: DocumentCache;
  readonly labels: OverrideLabels;
  readonly queue: PlanningQueue;
  readonly compilePlan: (node: NonNullable<QueryPlan['node']>) => Run | null;
  readonly compileOutput: (operation: Operation, variables: Variables) => Output;
}

/** For each character of a plan as JSON: the estimated bytes of its nodes and of what is compiled of them. */
const BYTES_PER_PLAN_CHARACTER = 4;
/** Operations that could not be planned are remembered for a while, so that a client that repeats one costs little. */
const MAX_REFUSALS = 500;
const REFUSAL_TTL_MS = 10_000;

/**
 * Plans and compiles each operation once for each set of conditions, and stores the result with the operation. What the plans are compiled
 * to is up to its user.
 */
export class PlanCache<Run, Output> {
  readonly #options: PlanCacheOptions<Run, Output>;
  readonly #refusals = new LRUCache<string, ApiError>({ max: MAX_REFUSALS, ttl: REFUSAL_TTL_MS });

  constructor(options: PlanCacheOptions<Run, Output>) {
    this.#options = options;
  }

  /**
   * Creates the key of a prepared operation among those of its operation: the request's override labels, and the values of the variables
   * in `@skip` and `@include`. With override labels, each call draws anew.
   */
  keyOf({ conditions }: Operation, variables: Variables): string {
    const { labels } = this.#options;
    let key = labels.size === 0 ? '' : labels.draw();
    // Null is not a value of a condition: it is an error of the request that sends it only.
    for (const name of conditions) key += variables[name] === true ? '1' : variables[name] === false ? '0' : '-';
    return key;
  }

  /** Gets a prepared operation from the cache. */
  get({ prepared }: Operation, key: string): PreparedOperation<Run, Output> | undefined {
    // Only this cache adds prepared operations to the operations of its supergraph.
    return prepared.get(key) as PreparedOperation<Run, Output> | undefined;
  }

  /**
   * Plans and compiles an operation, in turn with the operations of other clients.
   *
   * @param client the key of the client that waits
   * @throws ApiError RATE_LIMITED when too many operations wait, and what the planner throws
   */
  prepare(
    operation: Operation,
    key: string,
    variables: Variables,
    client: string | undefined,
  ): Promise<PreparedOperation<Run, Output>> {
    const { planners, operations, compileOutput } = this.#options;
    const work = async (charge: Charge) => {
      const planned = await this.#plan(planners.planner, operation, key, variables, charge);
      const output = compileOutput(operation, variables);
      const prepared = { ...this.#compile(planned), output, planWeight: weightOf(planned.plan), uses: 0 };
      operations.addPrepared(operation, key, prepared);
      return prepared;
    };
    return this.#once(`plan ${operation.hash} ${key}`, work, client);
  }

  /**
   * Gets the plan that resolves every field in the subgraph that owns it (without `@provides`), which is planned when it is first needed.
   *
   * @returns null when the plan of the prepared operation does so already
   * @throws as `prepare` does
   */
  async authoritative(
    operation: Operation,
    prepared: PreparedOperation<Run, Output>,
    key: string,
    variables: Variables,
    client: string | undefined,
  ): Promise<CompiledPlan<Run> | null> {
    if (prepared.authoritative !== undefined) return prepared.authoritative;
    const { planners, operations } = this.#options;
    const work = async (charge: Charge) => {
      const planner = planners.authoritative;
      const planned = planner ? await this.#plan(planner, operation, key, variables, charge) : prepared;
      const isSame = JSON.stringify(planned.plan.node) === JSON.stringify(prepared.plan.node);
      prepared.authoritative = isSame ? null : this.#compile(planned);
      if (!isSame) prepared.planWeight += weightOf(planned.plan);
      operations.weigh(operation);
      return prepared.authoritative;
    };
    return this.#once(`owners ${operation.hash} ${key}`, work, client);
  }

  /** The prepared operations of an operation, with what they were planned for. */
  variantsOf(operation: Operation): { readonly variant: PlanVariant; readonly prepared: { uses: number } }[] {
    const { labels } = this.#options;
    return [...operation.prepared.keys()].flatMap((key) => {
      const prepared = operation.prepared.peek(key) as PreparedOperation<Run, Output> | undefined;
      if (!prepared) return [];
      const conditions = key.slice(key.lastIndexOf('|') + 1);
      const overrides = labels.size === 0 ? {} : Object.fromEntries(labels.read(key));
      return [{ variant: { conditions, overrides, authoritative: prepared.authoritative !== undefined }, prepared }];
    });
  }

  /**
   * Prepares an operation before a client sends it.
   *
   * @throws as `prepare` does, and when the variant has other conditions than the operation
   */
  async prepareVariant(operation: Operation, { conditions, overrides, authoritative }: PlanVariant): Promise<void> {
    const { labels } = this.#options;
    if (conditions.length !== operation.conditions.length) throw new Error('The operation has other conditions.');
    const key = `${labels.size === 0 ? '' : labels.write(overrides)}${conditions}`;
    const given = operation.conditions.map((name, i) => [name, conditions[i] === '1'] as const);
    const variables = Object.fromEntries(given.filter((_, i) => conditions[i] !== '-'));
    try {
      const prepared = this.get(operation, key) ?? (await this.prepare(operation, key, variables, undefined));
      if (authoritative) await this.authoritative(operation, prepared, key, variables, undefined);
    } catch (error) {
      // No client has sent it: the first one that does has it planned again.
      for (const kind of ['plan', 'owners']) this.#refusals.delete(`${kind} ${operation.hash} ${key}`);
      throw error;
    }
  }

  /** Runs a job in the queue; a job that was refused because planning takes too much is refused again without running it. */
  async #once<Result>(
    job: string,
    work: (charge: Charge) => Promise<Result>,
    client: string | undefined,
  ): Promise<Result> {
    const refusal = this.#refusals.get(job);
    if (refusal) throw refusal;
    const run = async (charge: Charge) => {
      try {
        return await work(charge);
      } catch (error) {
        if (error instanceof ApiError && !isCrash(error)) this.#refusals.set(job, error);
        throw error;
      }
    };
    return this.#options.queue.run(job, run, client);
  }

  #compile({ plan, planner, reason }: PlannedOperation): CompiledPlan<Run> {
    return { plan, planner, reason, run: plan.node ? this.#options.compilePlan(plan.node) : null };
  }

  #plan(
    planner: QueryPlanner,
    { document, conditions }: Operation,
    key: string,
    variables: Variables,
    charge: Charge,
  ): Promise<PlannedOperation> {
    const values = Object.fromEntries(conditions.map((name) => [name, variables[name] === true]));
    return planner.plan(document, { conditions: values, overrides: this.#options.labels.read(key), charge });
  }
}

function weightOf({ node }: QueryPlan): number {
  return node ? BYTES_PER_PLAN_CHARACTER * JSON.stringify(node).length : 0;
}

/** Whether the planner's process ended, which says little about the operation. */
function isCrash({ cause }: ApiError): boolean {
  return cause instanceof PlanningError && cause.failure === 'crashed';
}
