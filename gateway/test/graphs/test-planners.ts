import { pino } from 'pino';
import { type PlannerName, Planners } from '../../src/planning/index.js';

/** Planners for the graphs of a test file. QUERY_PLANNER chooses one; by default both, as in a gateway. */
export const planners = new Planners({
  planner: process.env.QUERY_PLANNER as PlannerName | undefined,
  timeoutMs: 5000,
  logger: pino({ level: 'silent' }),
});
