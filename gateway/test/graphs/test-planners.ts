import { execFileSync } from 'node:child_process';
import { pino } from 'pino';
import { type PlannerName, Planners, type PlannersOptions } from '../../src/planning/index.js';

/** Planners for graphs, in processes that end with the test file. */
export function createPlanners(options: Partial<PlannersOptions> = {}): Planners {
  return new Planners({ timeoutMs: 5000, logger: pino({ level: 'silent' }), ...options });
}

/** The planners of graphs that choose none: both, as in a gateway, or the one that QUERY_PLANNER names. */
export const planners = createPlanners({ planner: process.env.QUERY_PLANNER as PlannerName | undefined });

/** The processes of a planner that this process has started and that run, in the order of their start. */
export function planningProcesses(name: PlannerName): number[] {
  const list = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)], { encoding: 'utf8' });
  return list
    .split('\n')
    .filter((line) => line.includes(`planner-main.js ${name}`))
    .map((line) => Number(line.trim().split(' ')[0]));
}
