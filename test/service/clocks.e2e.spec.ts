import { freePort } from '@tributary/cli';
import { createHttpService } from '@tributary/server';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cloneDatabases, type TestDatabases } from '../harness/databases.ts';
import { haveNats, startNats, type TestNats } from '../harness/nats.ts';
import { shiftedClock } from '../harness/preload.ts';
import { type RunningProgram, runProgram } from '../harness/process.ts';
import { until } from '../harness/until.ts';

// A clock that is off by more than a second is reported by the processes that depend on it: once in the log, as a metric, and as degraded health.

let databases: TestDatabases;
let nats: TestNats | undefined;
const programs = new Map<string, RunningProgram>();
const urls = new Map<string, string>();
beforeAll(async () => {
  if (!haveNats()) return;
  [databases, nats] = await Promise.all([cloneDatabases(), startNats()]);
  const names = ['users', 'products', 'orders', 'gateway'] as const;
  for (const name of names) urls.set(name, `http://localhost:${await freePort()}`);
  const at = (name: string) => urls.get(name) as string;
  const env = {
    NATS_URL: nats.url,
    ...Object.fromEntries(names.map((name) => [`${name.toUpperCase()}_PORT`, new URL(at(name)).port])),
    ...Object.fromEntries(names.map((name) => [`${name.toUpperCase()}_URL`, at(name)])),
    USERS_DATABASE_URL: databases.urls.users,
    PRODUCTS_DATABASE_URL: databases.urls.products,
    ORDERS_DATABASE_URL: databases.urls.orders,
    SUBGRAPHS: ['users', 'products', 'orders'].map((name) => `${name}=${at(name)}/graphql`).join(),
  };
  const clocks: Record<string, NodeJS.ProcessEnv> = { users: shiftedClock(20_000), products: shiftedClock(-3000) };
  for (const name of names) {
    const entry = name === 'gateway' ? 'gateway/dist/main.js' : `subgraphs/${name}/dist/main.js`;
    programs.set(name, runProgram(entry, [], { ...env, ...clocks[name] }));
  }
}, 120_000);
afterAll(async () => {
  for (const program of programs.values()) {
    program.kill('SIGKILL');
    await program.ended;
  }
  await nats?.remove();
  await databases?.drop();
});

const health = async (name: string): Promise<{ status?: string; degraded?: Record<string, string> }> =>
  fetch(`${urls.get(name)}/health/ready`).then(
    (response) => response.json() as never,
    () => ({}),
  );
const offset = async (name: string, source: string) => {
  const metrics = await (await fetch(`${urls.get(name)}/metrics`)).text();
  return Number(new RegExp(`^clock_offset_seconds\\{source="${source}"[^}]*\\} (.+)$`, 'm').exec(metrics)?.[1]);
};

test.skipIf(!haveNats())(
  'a clock that is ahead or behind is reported by every process that depends on it',
  async () => {
    const clocksOf = async (name: string) => (await health(name)).degraded?.clocks ?? '';
    // By its own database the clock of a process is found out at once; by the messages of a service that is behind, after some ten seconds.
    const seen = async (name: string, ...patterns: RegExp[]) =>
      until(
        () => clocksOf(name),
        (reasons) => patterns.every((pattern) => pattern.test(reasons)),
        60_000,
      );
    await Promise.all([
      seen('users', /The clock of database is about (1[6-9]|20)\.\d s behind\./),
      seen('products', /The clock of database is about [23]\.\d s ahead\./),
      seen(
        'orders',
        /The clock of users is about (19|20)\.\d s ahead\./,
        /The clock of products is about 3\.\d s behind\./,
      ),
      seen(
        'gateway',
        /The clock of users is about (19|20)\.\d s ahead\./,
        /The clock of products is about 3\.\d s behind\./,
      ),
    ]);
    expect(await offset('orders', 'users')).toBeGreaterThan(19);
    expect(await offset('gateway', 'products')).toBeGreaterThan(2.9);
    expect(await offset('orders', 'database')).toBeLessThan(1);
    expect((await fetch(`${urls.get('orders')}/health/ready`)).status).toBe(200);
    const reported = (programs.get('gateway') as RunningProgram)
      .output()
      .match(/the clock of (users|products) and the clock of this process differ/g);
    expect(reported?.toSorted()).toEqual([
      'the clock of products and the clock of this process differ',
      'the clock of users and the clock of this process differ',
    ]);
  },
  90_000,
);

test('a clock that cannot be read for a while keeps its report, and has no sample in the metric', async () => {
  const lines: { msg: string }[] = [];
  const service = createHttpService({
    name: 'test',
    host: '127.0.0.1',
    port: 0,
    logger: pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) }),
    readiness: async () => ({ ready: true }),
  });
  let offsetMs: number | null = 5000;
  let looks = 0;
  service.clocks.add({
    source: 'database',
    effect: 'a test',
    offsetMs: () => {
      looks += 1;
      return offsetMs;
    },
  });
  const url = await service.listen();
  const reports = () => lines.filter(({ msg }) => msg.startsWith('the clock of database')).length;
  const looked = (from: number) =>
    until(
      async () => looks,
      (now) => now > from,
    );
  const metrics = async () => (await fetch(`${url}/metrics`)).text();
  await looked(0);
  expect(await metrics()).toMatch(/^clock_offset_seconds\{source="database"[^}]*\} 5$/m);
  offsetMs = null;
  await looked(looks);
  expect(await metrics()).not.toMatch(/^clock_offset_seconds\{/m);
  expect(reports()).toBe(1);
  expect(await (await fetch(`${url}/health/ready`)).json()).toMatchObject({
    degraded: { clocks: 'The clock of database is about 5.0 s ahead.' },
  });
  offsetMs = 0;
  await looked(looks);
  expect(reports()).toBe(2);
  await service.close();
});
