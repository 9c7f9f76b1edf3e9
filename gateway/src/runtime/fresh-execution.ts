import { OperationTypeNode } from 'graphql';
import type { EntityCache } from '../cache/index.js';
import { isFreshEnough, type Requirements } from '../consistency/index.js';
import type { ExecutionContext, RunNode } from '../execution/index.js';
import type { CompiledPlan } from '../planning/index.js';

/** The longest time, in milliseconds, that a request waits for the invalidations up to the positions in its consistency token. */
const INVALIDATION_PATIENCE_MS = 50;

export interface FreshExecution {
  readonly type: OperationTypeNode;
  readonly requirements: Requirements;
  /** The compiled plan, which may read copies of other services' data. */
  readonly compiled: CompiledPlan<RunNode>;
  /** Gets the authoritative plan, which reads owners only; null when the compiled plan does so already. */
  readonly authoritative: () => Promise<CompiledPlan<RunNode> | null>;
  readonly cache: EntityCache | null;
  /** When the request came, as `performance.now()` says it. */
  readonly started: number;
  /** Executes a plan; without requirements, nothing is read from the cache. */
  readonly execute: (plan: CompiledPlan<RunNode>, requirements: Requirements | null) => Promise<ExecutionContext>;
}

/** The plan that was executed last, and what its execution gave. */
export interface Executed {
  readonly plan: CompiledPlan<RunNode>;
  readonly context: ExecutionContext;
}

/**
 * Executes the plan that is fresh enough for a request: the compiled plan, and then the authoritative one if a copy turned out to be older
 * than the request allows, or than an event that has arrived since. Mutations, and queries with a bound of 0, use the authoritative plan at
 * once: the result of a mutation must include its changes, and it cannot be executed twice.
 */
export async function executeFresh(request: FreshExecution): Promise<Executed> {
  const { type, requirements, compiled, authoritative, cache, started, execute } = request;
  if (type !== OperationTypeNode.QUERY) {
    const plan = (await authoritative()) ?? compiled;
    const context = await execute(plan, null);
    cache?.noteWritten(context.observed);
    return { plan, context };
  }
  const isBounded = requirements.positions.size > 0 || Number.isFinite(requirements.maxStalenessMs);
  if (isBounded) await cache?.prepare(requirements, INVALIDATION_PATIENCE_MS);
  const plan = requirements.maxStalenessMs === 0 ? ((await authoritative()) ?? compiled) : compiled;
  const context = await execute(plan, requirements);
  const isStale = context.outdated || !isFreshEnough(context.observed, requirements, started);
  if (plan !== compiled || !isStale) return { plan, context };
  const better = await authoritative();
  const second = better && (await execute(better, requirements));
  // Without a bound, the data of a copy is better than the error of its owner.
  const isBetter = second && (isBounded || second.errors.length <= context.errors.length);
  return better && isBetter ? { plan: better, context: second } : { plan, context };
}
