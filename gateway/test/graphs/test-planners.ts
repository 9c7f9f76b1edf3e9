import { pino } from 'pino';
import { type PlannerName, Planners, type PlannersOptions } from '../../src/planning/index.js';

/** Planners for graphs, in processes that end with the test file. */
export function createPlanners(options: Partial<PlannersOptions> = {}): Planners {
  return new Planners({ timeoutMs: 5000, logger: pino({ level: 'silent' }), ...options });
}

/** The planners of graphs that choose none: both, as in a gateway, or the one that QUERY_PLANNER names. */
export const planners = createPlanners({ planner: process.env.QUERY_PLANNER as PlannerName | undefined });
