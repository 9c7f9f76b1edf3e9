import { performance } from 'node:perf_hooks';
import { ApiError } from '@tributary/shared/errors';

/**
 * Different ways to one selection that the planner may follow. Where several subgraphs resolve the fields of an interface, their
 * number multiplies at each level: 45 characters of a query can keep the planner busy for minutes.
 */
const MAX_OPTIONS = 3000;
/** How long one operation may be planned: twice what the largest operation takes that the other limits admit. */
const MAX_PLANNING_MS = 4000;

const REFUSALS = /^(Too many options generated|Number of (non-local|recursive) selections exceeds)/;

/**
 * Ends a planning that takes too much, in the one place where the planner can be interrupted: it compares the number of options
 * with the limit `debug.pathsLimit` at each step, and so asks this object for its value.
 */
export class PlanningLimit {
  #deadline = Number.POSITIVE_INFINITY;

  /** What the planner takes for a number. */
  get pathsLimit(): number {
    return this as unknown as number;
  }

  /**
   * Runs a planning within the limit.
   *
   * @throws ApiError COST_LIMIT with the reason PLANNING when it takes too much
   */
  apply<Result>(plan: () => Result): Result {
    this.#deadline = performance.now() + MAX_PLANNING_MS;
    try {
      return plan();
    } catch (error) {
      if (error instanceof Error && (error instanceof RangeError || REFUSALS.test(error.message))) throw tooExpensive();
      throw error;
    }
  }

  valueOf(): number {
    if (performance.now() > this.#deadline) throw tooExpensive();
    return MAX_OPTIONS;
  }
}

function tooExpensive(): ApiError {
  return new ApiError('COST_LIMIT', 'There are too many ways to plan this operation; split it into smaller ones.', {
    reason: 'PLANNING',
  });
}
