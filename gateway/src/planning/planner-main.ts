import { Worker } from 'node:worker_threads';
import type { PlannerRequest, PlannerResponse, PlanningFailure, PlanRequest } from './planner-messages.js';
import { OUT_OF_MEMORY, PlanningError } from './planner-messages.js';
import type { QueryPlan } from './query-plan.js';

// The process of a planner: `node planner-main.js native|apollo MIB`, with an IPC channel. See planner-process.ts.

/** A planner that has loaded a supergraph. */
export interface LoadedPlanner {
  /** @throws PlanningError; any other error is a fault of the planner */
  plan(request: PlanRequest): QueryPlan | Promise<QueryPlan>;
}

const MEMORY_CHECK_MS = 10;

const [planner, maxMemoryMb] = process.argv.slice(2);
const supergraphs = new Map<string, LoadedPlanner>();

// The gateway ends this process: by a signal to a group of processes, or Ctrl-C, the gateway ends first, and its plannings with it.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.on('disconnect', () => process.exit());
if (planner === 'apollo') endWithGateway();
process.on('message', (request: PlannerRequest) => {
  if (request.type === 'unload') supergraphs.delete(request.supergraph);
  else void respond(request).then((response) => process.send?.(response));
});

/** Ends this process when the gateway has ended, also while the planner blocks the main thread, which sees no event then. */
function endWithGateway(): void {
  const watch = `setInterval(() => { if (process.ppid !== ${process.ppid}) process.kill(process.pid, 'SIGKILL'); }, 500)`;
  new Worker(watch, { eval: true }).unref();
}

async function respond(request: Exclude<PlannerRequest, { type: 'unload' }>): Promise<PlannerResponse> {
  try {
    if (request.type === 'plan') return { type: 'planned', plan: await plan(request) };
    supergraphs.set(request.supergraph, await load(request.sdl));
    return { type: 'loaded' };
  } catch (error) {
    const failure: PlanningFailure = error instanceof PlanningError ? error.failure : 'failed';
    return { type: 'failed', failure, message: error instanceof Error ? error.message : String(error) };
  }
}

async function load(sdl: string): Promise<LoadedPlanner> {
  if (planner === 'apollo') return new (await import('./apollo-planner.js')).ApolloPlanner(sdl);
  const native = await import('./native-planner.js').catch((error: Error) => {
    throw new PlanningError('unavailable', `There is no native planner for this platform: ${error.message}`);
  });
  return new native.NativePlanner(sdl);
}

async function plan(request: PlanRequest): Promise<QueryPlan> {
  const loaded = supergraphs.get(request.supergraph);
  if (!loaded) throw new Error('The supergraph is not loaded.');
  // The bound of V8 does not count what the native planner takes.
  const watch = setInterval(() => {
    if (process.memoryUsage.rss() > Number(maxMemoryMb) * 1024 * 1024) process.exit(OUT_OF_MEMORY);
  }, MEMORY_CHECK_MS);
  try {
    return await loaded.plan(request);
  } finally {
    clearInterval(watch);
  }
}
