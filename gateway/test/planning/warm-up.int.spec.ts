import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { haveRedis, startRedis } from '../../../test/harness/redis.ts';
import { gateway, gatewayOver, over, subgraph, type TestGateway } from '../../../test/harness/test-gateway.ts';
import type { TestSubgraph } from '../../../test/harness/test-subgraph.ts';
import { until } from '../../../test/harness/until.ts';
import { planningProcesses } from '../graphs/test-planners.ts';

// Before a new supergraph serves, the most used operations of the one before are planned on it.

const SCHEMA = 'type Query { a: String b: String c(x: Int): String }';
const NEXT = 'type Query { a: String b: String c(x: Int): String new: String }';

async function ask({ url }: TestGateway, query: string, variables: Record<string, unknown> = {}) {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-explain': 'yes' },
    body: JSON.stringify({ query, variables }),
  });
  return response.json();
}

const planned = (cached: boolean) => ({ extensions: { explanation: { planning: { cached } } } });

const lines = ({ logs }: TestGateway, text: string) => logs.filter(({ msg }) => msg === text);
const warmUps = (started: TestGateway) =>
  lines(started, 'serving a new supergraph').flatMap(({ warmUp }) =>
    warmUp ? [warmUp as Record<string, unknown>] : [],
  );

/** Serves another schema, and resolves when the gateway serves it. */
async function swap(started: TestGateway, a: TestSubgraph, sdl: string): Promise<void> {
  const swaps = () => lines(started, 'serving a new supergraph').length;
  const before = swaps();
  a.serve(sdl);
  await until(
    async () => swaps(),
    (count) => count > before,
  );
}

test('the first request of an operation after a swap is planned already, for each set of its conditions', async () => {
  const a = await subgraph(SCHEMA);
  const started = await gatewayOver({ a });
  const conditional = 'query Conditional($if: Boolean!) { a b @include(if: $if) }';
  const requests = [
    ['{ a }', {}],
    ['{ c(x: 1) }', {}],
    [conditional, { if: true }],
    [conditional, { if: false }],
  ] as const;
  for (const [query, variables] of requests) expect(await ask(started, query, variables)).toMatchObject(planned(false));
  await swap(started, a, NEXT);
  expect(warmUps(started)).toMatchObject([{ planned: 4, invalid: 0, failed: 0, late: 0 }]);
  expect(await started.metric(/^gateway_warmed_operations_total\{.*planned/)).toBe(4);
  for (const [query, variables] of requests) expect(await ask(started, query, variables)).toMatchObject(planned(true));
  // Another document of an operation that is planned.
  expect(await ask(started, 'query Other { c(x: 2) }')).toMatchObject(planned(true));
});

test('an operation that is invalid on the new supergraph is skipped, and is planned again where it is valid', async () => {
  const a = await subgraph(SCHEMA);
  const started = await gatewayOver({ a });
  for (const query of ['{ a }', '{ b }']) await ask(started, query);
  await swap(started, a, 'type Query { a: String }');
  expect(warmUps(started)).toMatchObject([{ planned: 1, invalid: 1 }]);
  expect(await ask(started, '{ b }')).toMatchObject({ errors: [{ message: expect.stringContaining('"b"') }] });
  expect(await ask(started, '{ a }')).toMatchObject(planned(true));
  await swap(started, a, NEXT);
  expect(await ask(started, '{ b }')).toMatchObject(planned(true));
});

test('the list is bounded, and the most used operations are planned', async () => {
  const a = await subgraph(SCHEMA);
  const started = await gatewayOver({ a }, { MAX_OPERATIONS: '2' });
  await ask(started, '{ a }');
  await ask(started, '{ a }');
  await ask(started, '{ b }');
  await swap(started, a, NEXT);
  expect(warmUps(started)).toMatchObject([{ planned: 2 }]);
  await ask(started, '{ a }');
  await ask(started, '{ c }');
  await swap(started, a, `${NEXT} type Other { d: String }`);
  expect(warmUps(started).at(-1)).toMatchObject({ planned: 2 });
  for (const query of ['{ a }', '{ c }']) expect(await ask(started, query)).toMatchObject(planned(true));
  // Its use is older than that of `{ c }`.
  expect(await ask(started, '{ b }')).toMatchObject(planned(false));
});

test('0 disables it', async () => {
  const a = await subgraph(SCHEMA);
  const started = await gatewayOver({ a }, { WARM_UP_TIMEOUT: '0' });
  await ask(started, '{ a }');
  await swap(started, a, NEXT);
  expect(warmUps(started)).toEqual([]);
  expect(await ask(started, '{ a }')).toMatchObject(planned(false));
});

/** A gateway that has planned three operations, and whose planner is stopped while these are planned on the next supergraph. */
async function gatewayWithStoppedPlanner(env: NodeJS.ProcessEnv) {
  const a = await subgraph(SCHEMA);
  const before = planningProcesses('native');
  const nothing = () => undefined;
  let onParse: () => void = nothing;
  const started = await gateway(
    { ...over({ a }), ...env },
    { plugins: [{ name: 'stopper', onParse: () => onParse() }] },
  );
  await started.gateway.ready;
  const [planner = 0] = planningProcesses('native').filter((pid) => !before.includes(pid));
  expect(planner).toBeGreaterThan(0);
  for (const query of ['{ a }', '{ b }', '{ c }']) await ask(started, query);

  // The planner has loaded the new supergraph when the first document is parsed for it.
  const stopped = new Promise<void>((resolve) => {
    onParse = () => {
      process.kill(planner, 'SIGSTOP');
      onParse = nothing;
      resolve();
    };
  });
  const swapped = swap(started, a, NEXT);
  await stopped;
  return { started, planner, swapped };
}

test('while its planner does not respond, the supergraph before serves, until the time is over', async () => {
  const env = { WARM_UP_TIMEOUT: '1s', PLANNING_TIMEOUT: '20s' };
  const { started, planner, swapped } = await gatewayWithStoppedPlanner(env);
  try {
    const swaps = lines(started, 'serving a new supergraph').length;
    for (let i = 0; i < 20; i++) {
      const sentAt = performance.now();
      expect(await ask(started, '{ a }')).toMatchObject(planned(true));
      expect(performance.now() - sentAt).toBeLessThan(500);
    }
    expect(lines(started, 'serving a new supergraph')).toHaveLength(swaps);
    await swapped;
    expect(warmUps(started)).toMatchObject([{ planned: 0, late: 3 }]);
    expect((warmUps(started)[0]?.durationMs as number) - 1000).toBeLessThan(500);
  } finally {
    process.kill(planner, 'SIGCONT');
  }
  expect(await ask(started, '{ a new }')).toMatchObject(planned(false));
  expect(await ask(started, '{ b }')).toHaveProperty('data.b');
});

test('a failure to plan before the swap is not remembered: the operation is planned when it is requested', async () => {
  const { started, swapped } = await gatewayWithStoppedPlanner({ PLANNING_TIMEOUT: '100ms', QUERY_PLANNER: 'native' });
  await swapped;
  expect(warmUps(started)).toMatchObject([{ planned: 2, failed: 1, late: 0 }]);
  for (const query of ['{ a }', '{ b }', '{ c }']) expect(await ask(started, query)).not.toHaveProperty('errors');
});

describe('where the list is stored', () => {
  const IGNORED = 'the stored operations are damaged or of another format; they are ignored';
  const newFile = () => join(mkdtempSync(join(tmpdir(), 'tributary-warm-up-')), 'operations.json');
  const schema = 'type Query { a(text: String, list: [String]): String b: String c: String }';
  const requests = [
    ['{ b }', {}],
    ['query Conditional($if: Boolean!) { b c @skip(if: $if) }', { if: true }],
    ['query ($text: String) { b: a(text: $text) c: a(text: "secret literal") }', { text: 'secret variable' }],
  ] as const;

  /** Uses operations on one gateway, ends it, and starts another one. */
  async function restart(env: NodeJS.ProcessEnv): Promise<TestGateway> {
    const a = await subgraph(schema);
    const first = await gatewayOver({ a }, env);
    for (const [query, variables] of requests) expect(await ask(first, query, variables)).toMatchObject(planned(false));
    // A value in a list with a variable is no variable of its own.
    await ask(first, 'query ($text: String) { a(list: ["secret in a list", $text]) }');
    await first.gateway.close();
    return gatewayOver({ a }, env);
  }

  async function expectPlanned(started: TestGateway): Promise<void> {
    expect(warmUps(started)).toMatchObject([{ planned: 3, invalid: 0, failed: 0, late: 0 }]);
    for (const [query, variables] of requests) {
      expect(await ask(started, query, variables)).toMatchObject(planned(true));
    }
    expect(started.logs.filter(({ level }) => level >= 40)).toEqual([]);
  }

  test('a file: operations are planned before a restarted gateway is ready, and no values are stored', async () => {
    const file = newFile();
    await expectPlanned(await restart({ WARM_UP_STORE: file }));
    const text = readFileSync(file, 'utf8');
    expect(JSON.parse(text)).toMatchObject({ format: 1, operations: [{}, {}, {}] });
    expect(text).not.toMatch(/secret|Conditional/);
  });

  test('Redis: operations are planned before a restarted gateway is ready', async ({ skip }) => {
    if (!haveRedis()) return skip();
    const redis = await startRedis();
    try {
      const env = { WARM_UP_STORE: 'redis', REDIS_URL: redis.url, REDIS_PREFIX: 'test' };
      await expectPlanned(await restart(env));
      expect(await redis.command('KEYS', '*operations*')).toEqual(['test:operations:1']);
    } finally {
      await redis.kill();
    }
  });

  test.each([
    ['damaged', '{"format":1,"operations":['],
    ['of another program', '{"users":["Ada"]}'],
    ['of another form', '{"format":1,"operations":[{"query":5}]}'],
    ['too long', `"${'#'.repeat(9_000_000)}"`],
  ])('a text that is %s is ignored with one warning, and replaced', async (_, text) => {
    const file = newFile();
    writeFileSync(file, text);
    const a = await subgraph(schema);
    const started = await gatewayOver({ a }, { WARM_UP_STORE: file });
    expect(lines(started, IGNORED)).toHaveLength(1);
    expect(warmUps(started)).toEqual([]);
    await ask(started, '{ b }');
    await started.gateway.close();
    expect(started.logs.filter(({ level }) => level >= 40).map(({ msg }) => msg)).toEqual([IGNORED]);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({
      operations: [{ query: expect.stringContaining('b') }],
    });
  });

  test('stored operations that cannot be read at the start are added, and not overwritten, when they can be', async ({
    skip,
  }) => {
    if (!haveRedis()) return skip();
    const redis = await startRedis();
    const env = { WARM_UP_STORE: 'redis', REDIS_URL: redis.url };
    try {
      const a = await subgraph(schema);
      const first = await gatewayOver({ a }, env);
      await ask(first, '{ b }');
      await first.gateway.close();

      redis.signal('SIGSTOP');
      const second = await gatewayOver({ a }, env);
      expect(
        lines(
          second,
          'the most used operations cannot be stored: after a restart they are planned when they are requested',
        ),
      ).toHaveLength(1);
      expect(await ask(second, '{ c }')).toMatchObject(planned(false));
      redis.signal('SIGCONT');
      await second.gateway.close();
      const third = await gatewayOver({ a }, env);
      expect(warmUps(third)).toMatchObject([{ planned: 2 }]);
    } finally {
      redis.signal('SIGCONT');
      await redis.kill();
    }
  });
});
