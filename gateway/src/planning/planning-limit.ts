import { ApiError } from '@tributary/server';
import { GraphQLError } from 'graphql';

/**
 * Different ways to one selection that the planner may follow. Where several subgraphs resolve the fields of an interface, their
 * number multiplies at each level: 45 characters of a query can keep the planner busy for minutes.
 */
const MAX_OPTIONS = 3000;
/**
 * Processor time that planning one operation may take: twice what the largest operation takes that the other limits admit.
 * (On a busy machine the same operation takes no more of it.)
 */
const MAX_PLANNING_MS = 4000;

const REFUSALS = /^(Too many options generated|Number of (non-local|recursive) selections exceeds)/;

/** Whether an error is a fault of the planner, which fails on some valid operations. */
export function isPlannerFault(error: unknown): error is Error {
  return error instanceof Error && !isExpense(error) && !(error instanceof GraphQLError);
}

function isExpense(error: Error): boolean {
  return error instanceof RangeError || REFUSALS.test(error.message);
}

/**
 * Stops a planning that takes too much. The planner can be interrupted in one place only: at each step it compares the number of options
 * with its setting `debug.pathsLimit`, which calls `valueOf` of this object.
 */
export class PlanningLimit {
  #before: NodeJS.CpuUsage = { user: 0, system: 0 };

  /** This object as the planner's setting, which is declared as a number. */
  get pathsLimit(): number {
    return this as unknown as number;
  }

  /**
   * Runs a planning within the limit.
   *
   * @throws ApiError with the reason PLANNING: COST_LIMIT when it takes too much, INTERNAL_SERVER_ERROR with a cause when the planner fails
   */
  apply<Result>(plan: () => Result): Result {
    this.#before = process.cpuUsage();
    try {
      return plan();
    } catch (error) {
      if (error instanceof Error && isExpense(error)) throw tooExpensive();
      if (isPlannerFault(error)) {
        const message = 'The query planner failed for this operation; the cause is in the log.';
        // The planner's message contains internals of the subgraphs, so it is logged only.
        throw Object.assign(new ApiError('INTERNAL_SERVER_ERROR', message, { reason: 'PLANNING' }), { cause: error });
      }
      throw error;
    }
  }

  valueOf(): number {
    const { user, system } = process.cpuUsage(this.#before);
    if (user + system > MAX_PLANNING_MS * 1000) throw tooExpensive();
    return MAX_OPTIONS;
  }
}

function tooExpensive(): ApiError {
  return new ApiError('COST_LIMIT', 'There are too many ways to plan this operation; split it into smaller ones.', {
    reason: 'PLANNING',
  });
}
