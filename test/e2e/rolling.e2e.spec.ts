import { Agent, request } from 'node:http';
import { freePort } from '@tributary/cli/free-port';
import { afterEach, expect, test } from 'vitest';
import { type RunningProgram, runProgram } from '../harness/process.ts';
import { over, subgraph } from '../harness/test-gateway.ts';
import { until } from '../harness/until.ts';

// Several processes behind one port, as PROCESSES starts them, and what happens when they are replaced or killed.

const running: RunningProgram[] = [];
afterEach(async () => {
  for (const program of running.splice(0)) {
    program.kill('SIGTERM');
    await program.ended;
  }
});

async function startGateway(env: NodeJS.ProcessEnv): Promise<{ program: RunningProgram; url: string }> {
  const port = await freePort();
  const program = runProgram('gateway/dist/main.js', [], { PORT: String(port), ...env });
  running.push(program);
  const url = `http://localhost:${port}`;
  const status = () => fetch(`${url}/health/ready`).then((response) => response.status, String);
  await until(status, (now) => now === 200);
  return { program, url };
}

/** Asks, and says what became of it: the data, or what went wrong. */
function ask(url: string, agent: Agent | false): Promise<string> {
  return new Promise((resolve) => {
    const outgoing = request(
      `${url}/graphql`,
      { agent, method: 'POST', headers: { 'content-type': 'application/json' } },
      (response) => {
        let text = '';
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.on('end', () => resolve(text));
        response.on('error', (error) => resolve(error.message));
      },
    );
    outgoing.on('error', (error) => resolve(error.message));
    outgoing.end('{"query":"{ name }"}');
  });
}

/** Clients that ask all the time until they are stopped: some keep their connections, some make a new one each time. */
function startClients(url: string) {
  const kept = new Agent({ keepAlive: true, maxSockets: 8 });
  const answers = new Map<string, number>();
  let stopped = false;
  const client = async (agent: Agent | false) => {
    while (!stopped) {
      const answer = await ask(url, agent);
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    }
  };
  const clients = Promise.all([...Array.from({ length: 8 }, () => client(kept)), client(false), client(false)]);
  const count = () => [...answers.values()].reduce((all, n) => all + n, 0);
  return {
    count,
    /** @returns how often each answer came */
    async stop() {
      stopped = true;
      await clients;
      kept.destroy();
      return answers;
    },
    async more(n: number) {
      const before = count();
      await until(
        async () => count(),
        (now) => now >= before + n,
      );
    },
  };
}

const pids = (program: RunningProgram) =>
  [...program.output().matchAll(/"pid":(\d+)[^\n]*gateway listens/g)].map(([, pid]) => Number(pid));

test('processes that are replaced under load lose no request', async () => {
  const a = await subgraph('type Query { name: String }');
  const { program, url } = await startGateway({ ...over({ a }), PROCESSES: '3' });
  await until(
    async () => pids(program).length,
    (n) => n === 3,
  );
  const clients = startClients(url);
  await clients.more(200);
  for (const round of [1, 2]) {
    program.kill('SIGHUP');
    await until(
      async () => program.output().match(/has replaced its processes/g)?.length ?? 0,
      (n) => n === round,
      60_000,
    );
    await clients.more(200);
  }
  expect(new Set(pids(program)).size).toBe(9);
  expect([...(await clients.stop()).keys()]).toEqual(['{"data":{"name":"name"}}']);
}, 120_000);

test('their figures are one, whichever of them is asked', async () => {
  const a = await subgraph('type Query { name: String }');
  const { url } = await startGateway({ ...over({ a }), PROCESSES: '2', CLIENT_QUERY_SHARING: 'off' });
  for (let i = 0; i < 40; i++) expect(await ask(url, false)).toContain('data');
  const counted = async () => {
    const text = await (await fetch(`${url}/metrics`)).text();
    return Number(/^http_request_duration_seconds_count\{[^}]*route="\/graphql"[^}]*\} (\d+)/m.exec(text)?.[1]);
  };
  expect(await Promise.all([counted(), counted(), counted()])).toEqual([40, 40, 40]);
});

test('one that is killed is started anew', async () => {
  const a = await subgraph('type Query { name: String }');
  const { program, url } = await startGateway({ ...over({ a }), PROCESSES: '2' });
  await until(
    async () => pids(program).length,
    (n) => n === 2,
  );
  process.kill(pids(program)[0] as number, 'SIGKILL');
  await until(
    async () => pids(program).length,
    (n) => n === 3,
  );
  expect(await ask(url, false)).toBe('{"data":{"name":"name"}}');
  expect(program.output()).toContain('a process has ended');
});

test('a new process that cannot serve leaves the old ones in place', async () => {
  const a = await subgraph('type Query { name: String }');
  const { program, url } = await startGateway({ ...over({ a }), PROCESSES: '2' });
  await a.down();
  program.kill('SIGHUP');
  await program.printed(/replaces its processes/);
  // The new one waits for its subgraph, so it is not asked, and nobody is retired.
  await program.printed(/"a\\" cannot be reached/);
  expect(JSON.parse(await ask(url, false)).errors[0].message).toContain('a');
  await a.up();
  await program.printed(/has replaced its processes/);
  expect(await ask(url, false)).toBe('{"data":{"name":"name"}}');
});

test('a wrong configuration is told once for every process, and ends them all', async () => {
  const program = runProgram('gateway/dist/main.js', [], {
    PROCESSES: '2',
    SUPERGRAPH_PATH: '/no/such/file',
    PORT: '0',
  });
  expect(await program.ended).toBe(1);
  expect(program.output()).toContain('/no/such/file');
});

test.each(['0', 'many', '1.5'])('PROCESSES=%s is refused', async (PROCESSES) => {
  const program = runProgram('gateway/dist/main.js', [], { PROCESSES });
  expect(await program.ended).toBe(1);
  expect(program.output()).toContain('PROCESSES: wants "auto", or a number from 1 to 99');
});
