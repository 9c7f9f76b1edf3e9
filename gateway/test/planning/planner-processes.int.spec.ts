import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { gatewayOver, subgraph } from '../../../test/harness/test-gateway.ts';
import { until } from '../../../test/harness/until.ts';
import type { Explanation } from '../../src/execution/explanation.js';
import type { PlannerName } from '../../src/planning/index.js';
import type { Answer } from '../graphs/federated-case.ts';
import { planningProcesses } from '../graphs/test-planners.ts';

// Planners run in processes of their own: whatever happens to one of them, the gateway serves what is planned, and plans again.

const users = () => subgraph('type Query { me: User } type User @key(fields: "id") { id: ID! name: String }');

/** A gateway, and the process of its planner. */
async function gatewayWithPlanner(env: NodeJS.ProcessEnv = {}, name: PlannerName = 'native') {
  const before = planningProcesses(name);
  const started = await gatewayOver({ users: await users() }, env);
  const ask = async (query: string) => {
    const response = await fetch(`${started.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-explain': 'yes' },
      body: JSON.stringify({ query }),
    });
    return (await response.json()) as Answer & { readonly extensions: { readonly explanation: Explanation } };
  };
  const [planner = 0] = planningProcesses(name).filter((pid) => !before.includes(pid));
  expect(planner).toBeGreaterThan(0);
  return { ...started, ask, planner };
}

describe('the planner of a supergraph', () => {
  test.each([
    ['native', {}],
    ['native', { QUERY_PLANNER: 'native' }],
    ['apollo', { QUERY_PLANNER: 'apollo' }],
  ] as const)('is %s with %j, and is named when it is ready, in the log, and in an explanation', async (name, env) => {
    const { readiness, logs, ask } = await gatewayWithPlanner(env, name);
    expect((await readiness()).body).toMatchObject({ supergraph: { planner: name } });
    expect(logs.find(({ msg }) => msg === 'serving a new supergraph')).toMatchObject({ planner: name });
    const planning = { planner: name, cached: false };
    expect(await ask('{ me { id } }')).toMatchObject({ extensions: { explanation: { planning } } });
  });
});

test('a planner that is killed is started again, and meanwhile the other one plans', async () => {
  const { ask, planner } = await gatewayWithPlanner();
  const killed: number[] = [];
  let operations = 0;
  const plannerOfNew = async () => {
    const response = await ask(`{ a${operations++}: me { id } }`);
    expect(response.errors).toBeUndefined();
    return response.extensions.explanation.planning.planner;
  };
  for (let pid = planner; killed.length < 2; pid = planningProcesses('native').at(-1) as number) {
    expect(killed).not.toContain(pid);
    process.kill(pid, 'SIGKILL');
    killed.push(pid);
    await until(plannerOfNew, (name) => name === 'native');
  }
});

test('an operation whose planner ends is planned by the other one', async () => {
  const { ask, planner } = await gatewayWithPlanner();
  process.kill(planner, 'SIGSTOP');
  const response = ask('query Crashes { me { id name } }');
  // It is sent to the stopped process; then this ends.
  await until(
    async () => execFileSync('ps', ['-o', 'stat=', '-p', String(planner)], { encoding: 'utf8' }),
    (state) => state.startsWith('T'),
  );
  process.kill(planner, 'SIGKILL');
  expect(await response).toHaveProperty('data.me.id');
});

describe('a planner that does not respond in time is ended, while operations that are planned are served', () => {
  test('and the other one plans', async () => {
    const { ask, planner } = await gatewayWithPlanner({ PLANNING_TIMEOUT: '5s' });
    await ask('query Cached { me { id } }');
    process.kill(planner, 'SIGSTOP');
    const waits = ask('query Waits { me { id other: name } }');
    expect(await ask('query Cached { me { id } }')).toHaveProperty('data.me.id');
    expect(await waits).toMatchObject({ extensions: { explanation: { planning: { planner: 'apollo' } } } });
    expect(planningProcesses('native')).not.toContain(planner);
  });

  test('and without another one, the operation is refused', async () => {
    const { ask, planner } = await gatewayWithPlanner({ PLANNING_TIMEOUT: '300ms', QUERY_PLANNER: 'native' });
    process.kill(planner, 'SIGSTOP');
    expect(await ask('query Waits { me { name } }')).toMatchObject({
      errors: [{ extensions: { code: 'COST_LIMIT', reason: 'PLANNING' } }],
    });
    expect(await ask('query Later { me { id other: name } }')).toHaveProperty('data.me.id');
  });
});

test('planners end with their gateway', async () => {
  const { gateway, planner } = await gatewayWithPlanner();
  await gateway.close();
  await until(
    async () => planningProcesses('native'),
    (running) => !running.includes(planner),
  );
});
