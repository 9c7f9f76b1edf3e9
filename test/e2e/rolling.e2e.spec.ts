import { freePort } from '@tributary/cli';
import { afterEach, expect, test } from 'vitest';
import { askOnce, startClients } from '../harness/clients.ts';
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

test('every process serves the metrics of all', async () => {
  const a = await subgraph('type Query { name: String }');
  const { url } = await startGateway({ ...over({ a }), PROCESSES: '2', CLIENT_QUERY_DEDUPLICATION: 'off' });
  for (let i = 0; i < 40; i++) expect(await askOnce(url, false)).toContain('data');
  const counted = async () => {
    const text = await (await fetch(`${url}/metrics`)).text();
    return Number(/^http_request_duration_seconds_count\{[^}]*route="\/graphql"[^}]*\} (\d+)/m.exec(text)?.[1]);
  };
  expect(await Promise.all([counted(), counted(), counted()])).toEqual([40, 40, 40]);
});

test('a process that is killed is started again', async () => {
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
  expect(await askOnce(url, false)).toBe('{"data":{"name":"name"}}');
  expect(program.output()).toContain('a process has ended');
});

test('a new process that cannot serve leaves the old ones in place', async () => {
  const a = await subgraph('type Query { name: String }');
  const { program, url } = await startGateway({ ...over({ a }), PROCESSES: '2' });
  await a.down();
  program.kill('SIGHUP');
  await program.printed(/replaces its processes/);
  // The new one waits for its subgraph, so it gets no request, and no process is retired.
  await program.printed(/"a\\" cannot be reached/);
  expect(JSON.parse(await askOnce(url, false)).errors[0].message).toContain('a');
  await a.up();
  await program.printed(/has replaced its processes/);
  expect(await askOnce(url, false)).toBe('{"data":{"name":"name"}}');
});

test('a wrong configuration is reported once for all processes, and ends them', async () => {
  const program = runProgram('gateway/dist/main.js', [], {
    PROCESSES: '2',
    SUPERGRAPH_PATH: '/no/such/file',
    PORT: '0',
  });
  expect(await program.ended).toBe(1);
  expect(program.output().match(/\/no\/such\/file/g)).toHaveLength(1);
});

test.each(['0', 'many', '1.5'])('PROCESSES=%s is refused', async (PROCESSES) => {
  const program = runProgram('gateway/dist/main.js', [], { PROCESSES });
  expect(await program.ended).toBe(1);
  expect(program.output()).toContain(`PROCESSES: expected "auto" or a number, 1-99; got "${PROCESSES}"`);
});
