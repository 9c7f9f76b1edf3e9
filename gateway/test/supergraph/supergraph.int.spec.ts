import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { composeServices } from '@apollo/composition';
import { parse } from 'graphql';
import { describe, expect, test } from 'vitest';
import { ask, codesOf } from '../../../test/harness/graphql-client.ts';
import { gateway, over, subgraph } from '../../../test/harness/test-gateway.ts';
import type { TestSubgraph } from '../../../test/harness/test-subgraph.ts';
import { until } from '../../../test/harness/until.ts';

/** Composes; but the gateway refuses it, as it does not implement `@authenticated`. */
const UNLOADABLE = 'type Query { a: String @federation__authenticated }';

async function readiness(url: string) {
  const response = await fetch(`${url}/health/ready`);
  const said = (await response.json()) as { problem: string | null; supergraph: { id: string } | null };
  return { ...said, status: response.status };
}

describe('over running subgraphs', () => {
  test('it listens at once, reports what it waits for, and is ready when the last subgraph is up', async () => {
    const a = await subgraph('type Query { a: String }');
    const b = await subgraph('type Query { b: String }');
    await b.down();
    const { url } = await gateway(over({ a, b }));

    const waiting = await until(
      () => readiness(url),
      ({ problem }) => problem !== null,
    );
    expect(waiting).toMatchObject({ status: 503, supergraph: null });
    expect(waiting.problem).toMatch(/"b" at http.*cannot be reached \(ECONNREFUSED\)/);
    const early = await ask(url, '{ a }');
    expect(early.status).toBe(503);
    expect(codesOf(early)).toEqual(['SUBGRAPH_UNAVAILABLE']);
    expect(early.errors?.[0]?.message).toContain('"b"');

    await b.up();
    await until(
      () => readiness(url),
      ({ status }) => status === 200,
    );
    expect((await ask(url, '{ a b }')).data).toEqual({ a: 'a', b: 'b' });
  });

  test('a schema change is served without a restart, and no request is dropped meanwhile', async () => {
    const a = await subgraph('type Query { a: String }');
    const { url, gateway: running } = await gateway(over({ a }));
    await running.ready;

    let stop = false;
    let asked = 0;
    const failures: unknown[] = [];
    const clients = Array.from({ length: 8 }, async () => {
      while (!stop) {
        const answer = await ask(url, '{ a }').catch((error) => ({ data: String(error) }));
        asked += 1;
        if (answer.data?.a !== 'a') failures.push(answer);
      }
    });
    for (let i = 1; i <= 5; i++) {
      a.serve(`type Query { a: String field${i}: String }`);
      await until(
        () => ask(url, `{ field${i} }`),
        ({ data }) => data?.[`field${i}`] === `field${i}`,
      );
    }
    stop = true;
    await Promise.all(clients);
    expect(failures).toEqual([]);
    expect(asked).toBeGreaterThan(50);
  });

  test('subgraphs that do not compose are not served: the last good supergraph stays, and the reason is reported', async () => {
    const a = await subgraph('type Query { a: String } type T @shareable { x: Int }');
    const b = await subgraph('type Query { b: T } type T @shareable { x: Int }');
    const { url, gateway: running } = await gateway(over({ a, b }));
    await running.ready;
    const good = await readiness(url);

    b.serve('type Query { b: T } type T { x: String }');
    const broken = await until(
      () => readiness(url),
      ({ problem }) => problem !== null,
    );
    expect(broken.problem).toMatch(/T\.x/);
    expect(broken).toMatchObject({ status: 200, supergraph: { id: good.supergraph?.id } });
    expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/gateway_supergraph_stale\{.*\} 1/);
    expect((await ask(url, '{ a }')).data).toEqual({ a: 'a' });

    b.serve('type Query { b: T c: String } type T @shareable { x: Int }');
    await until(
      () => readiness(url),
      ({ problem }) => problem === null,
    );
    expect((await ask(url, '{ c }')).data).toEqual({ c: 'c' });
  });

  test('a change that came while another subgraph was down is served when that is back', async () => {
    const a = await subgraph('type Query { a: String }');
    const b = await subgraph('type Query { b: String }');
    const { url, gateway: running } = await gateway(over({ a, b }));
    await running.ready;

    await b.down();
    await until(
      () => readiness(url),
      ({ problem }) => problem !== null,
    );
    a.serve('type Query { a: String late: String }');
    // The gateway has seen the new schema of a when it has asked a few times more.
    const polls = () =>
      fetch(`${url}/metrics`).then(async (response) =>
        Number(
          /fetch_duration_seconds_count\{(?=.*subgraph="a")(?=.*outcome="ok").*\} (\d+)/.exec(
            await response.text(),
          )?.[1],
        ),
      );
    const before = await polls();
    await until(polls, (count) => count >= before + 3);
    await b.up();
    await until(
      () => ask(url, '{ late }'),
      ({ data }) => data?.late === 'late',
    );
  });

  test('a supergraph that composes and cannot be loaded is reported, and the one before stays', async () => {
    const a = await subgraph('type Query { a: String }');
    const { url, gateway: running, metric, readiness: ready } = await gateway(over({ a }));
    await running.ready;
    const good = await readiness(url);
    for (const field of ['second', 'third']) {
      a.serve(UNLOADABLE);
      const broken = await until(
        () => readiness(url),
        ({ problem }) => problem !== null,
      );
      expect(broken.problem).toMatch(/authenticated/);
      expect(broken.status).toBe(200);
      if (field === 'second') expect(broken.supergraph?.id).toBe(good.supergraph?.id);
      expect((await ready()).body.degraded).toMatchObject({ supergraph: expect.stringMatching(/authenticated/) });
      expect(await metric(/^gateway_supergraph_stale/)).toBe(1);
      expect((await ask(url, '{ a }')).data).toEqual({ a: 'a' });

      a.serve(`type Query { a: String ${field}: String }`);
      await until(
        () => readiness(url),
        ({ problem }) => problem === null,
      );
      expect(await metric(/^gateway_supergraph_stale/)).toBe(0);
      expect((await ask(url, `{ ${field} }`)).data).toEqual({ [field]: field });
    }
  });

  test('a first supergraph that cannot be loaded is reported until there is one that can', async () => {
    const a = await subgraph(UNLOADABLE);
    const { url, gateway: running } = await gateway(over({ a }));
    const waiting = await until(
      () => readiness(url),
      ({ problem }) => /authenticated/.test(problem ?? ''),
    );
    expect(waiting).toMatchObject({ status: 503, supergraph: null });
    a.serve('type Query { a: String }');
    await running.ready;
    expect((await ask(url, '{ a }')).data).toEqual({ a: 'a' });
  });
});

describe('when a subgraph fails', () => {
  async function pair() {
    const good = await subgraph('type Query { good: String }');
    const bad = await subgraph('type Query { bad: String }');
    const { url, gateway: running } = await gateway({ ...over({ good, bad }), SUPERGRAPH_POLL_INTERVAL: '1h' });
    await running.ready;
    return { url, bad };
  }

  test.each([
    ['is down', 'SUBGRAPH_UNAVAILABLE', (bad: TestSubgraph) => bad.down()],
    ['hangs', 'TIMEOUT', async (bad: TestSubgraph) => bad.answerWith(() => undefined)],
    [
      'drips',
      'TIMEOUT',
      async (bad: TestSubgraph) =>
        bad.answerWith((response) => {
          const drip = setInterval(() => response.write(' '), 50);
          response.on('close', () => clearInterval(drip));
        }),
    ],
    [
      'answers HTML',
      'SUBGRAPH_UNAVAILABLE',
      async (bad: TestSubgraph) => bad.answerWith((response) => response.writeHead(502).end('<html>')),
    ],
    [
      'answers other JSON',
      'SUBGRAPH_UNAVAILABLE',
      async (bad: TestSubgraph) => bad.answerWith((response) => response.end('[1]')),
    ],
    [
      'cuts the connection',
      'SUBGRAPH_UNAVAILABLE',
      async (bad: TestSubgraph) => bad.answerWith((response) => response.destroy()),
    ],
  ])('and %s, the rest is answered, with %s for its part', async (_what, code, fail) => {
    const { url, bad } = await pair();
    await fail(bad);
    const startedAt = performance.now();
    const answer = await ask(url, '{ good bad }');
    expect(answer.data).toEqual({ good: 'good', bad: null });
    expect(answer.errors).toHaveLength(1);
    expect(answer.errors?.[0]).toMatchObject({
      extensions: { code, subgraph: 'bad' },
      message: expect.stringContaining('"bad"'),
    });
    expect(performance.now() - startedAt).toBeLessThan(5000);
  });

  test('its own errors come through with their code', async () => {
    const { url, bad } = await pair();
    bad.answerWith((response) =>
      response.end(
        JSON.stringify({
          data: { bad: null },
          errors: [{ message: 'no', path: ['bad'], extensions: { code: 'FORBIDDEN' } }],
        }),
      ),
    );
    const answer = await ask(url, '{ good bad }');
    expect(answer.errors).toEqual([
      {
        message: 'no',
        path: ['bad'],
        locations: [{ line: 1, column: 8 }],
        extensions: { code: 'FORBIDDEN', subgraph: 'bad' },
      },
    ]);
  });
});

describe('over a supergraph file', () => {
  function supergraphFile(
    sdls: string | Readonly<Record<string, string>>,
    url: string,
    path = join(mkdtempSync(join(tmpdir(), 'tributary-sdl-')), 'supergraph.graphql'),
  ) {
    const head = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key"])\n';
    const services = Object.entries(typeof sdls === 'string' ? { a: sdls } : sdls).map(([name, sdl]) => ({
      name,
      url,
      typeDefs: parse(head + sdl),
    }));
    writeFileSync(path, composeServices(services).supergraphSdl as string);
    return path;
  }

  test('it runs alone, and serves the file as it changes', async () => {
    const a = await subgraph('type Query { a: String b: String }');
    const path = supergraphFile('type Query { a: String }', a.url);
    const { url, logs } = await gateway({ SUPERGRAPH_PATH: path });
    expect((await ask(url, '{ a }')).data).toEqual({ a: 'a' });
    expect(codesOf(await ask(url, '{ b }'))).toEqual(['GRAPHQL_VALIDATION_FAILED']);

    writeFileSync(path, 'type Query {');
    await until(
      () => readiness(url),
      ({ problem }) => problem !== null,
    );
    expect((await ask(url, '{ a }')).data).toEqual({ a: 'a' });

    supergraphFile('type Query { a: String b: String }', a.url, path);
    await until(
      () => ask(url, '{ b }'),
      ({ data }) => data?.b === 'b',
    );
    expect((await readiness(url)).problem).toBeNull();
    expect(logs.filter(({ msg }) => /supergraph/.test(msg))).toMatchObject([
      { msg: 'serving a new supergraph' },
      { msg: 'the supergraph file could not be loaded', problem: expect.stringContaining(path) },
      { msg: 'serving a new supergraph', added: ['Query.b'], removed: [], changed: [] },
      { msg: 'the supergraph file is loaded again', path },
    ]);
  });

  test('a supergraph that cannot be loaded is reported, and the one before stays', async () => {
    const a = await subgraph('type Query { a: String b: String }');
    const path = supergraphFile('type Query { a: String }', a.url);
    const { url, metric } = await gateway({ SUPERGRAPH_PATH: path });
    const good = await readiness(url);
    supergraphFile(UNLOADABLE, a.url, path);
    const broken = await until(
      () => readiness(url),
      ({ problem }) => problem !== null,
    );
    expect(broken.problem).toMatch(/authenticated/);
    expect(broken).toMatchObject({ status: 200, supergraph: { id: good.supergraph?.id } });
    expect(await metric(/^gateway_supergraph_stale/)).toBe(1);
    expect((await ask(url, '{ a }')).data).toEqual({ a: 'a' });

    supergraphFile('type Query { a: String }', a.url, path);
    await until(
      () => readiness(url),
      ({ problem }) => problem === null,
    );
    expect(await metric(/^gateway_supergraph_stale/)).toBe(0);
    expect(await readiness(url)).toMatchObject({ status: 200, supergraph: { id: good.supergraph?.id } });

    supergraphFile('type Query { a: String b: String }', a.url, path);
    await until(
      () => ask(url, '{ b }'),
      ({ data }) => data?.b === 'b',
    );
  });

  test('the log line of a new supergraph names every change that may break clients', async () => {
    const a = await subgraph('type Query { a: String }');
    const path = supergraphFile(
      {
        a: `directive @live on QUERY | FIELD
            directive @slow(ms: Int = 1) on QUERY
            interface Named { name: String }
            type Thing implements Named { name: String size: Int }
            type Odd { id: ID }
            scalar Money
            enum Currency { EUR USD }
            input Range { from: Int = 0 }
            type Query { thing(of: Currency = EUR, in: Range, for: Int! = 1): Thing odd: Odd price: Money named: Named }`,
        b: 'directive @live on QUERY | FIELD directive @slow(ms: Int = 1) on QUERY type Query { b: String }',
      },
      a.url,
    );
    const { gateway: running, logs } = await gateway({ SUPERGRAPH_PATH: path });
    await running.ready;
    supergraphFile(
      {
        a: `directive @live on QUERY
            interface Named { name: String }
            type Thing { name: String size: Int }
            interface Odd { id: ID }
            type Even implements Odd { id: ID }
            type Money { amount: Int }
            enum Currency { EUR USD }
            input Range { from: Int = 1 }
            type Query { thing(of: Currency = USD, in: Range, for: Int!): Thing odd: Odd price: Money named: Named }`,
        c: 'directive @live on QUERY type Query { b: String }',
      },
      a.url,
      path,
    );
    const news = () => logs.filter(({ msg }) => msg === 'serving a new supergraph');
    await until(
      async () => news().length,
      (count) => count === 2,
    );
    expect(news()[1]).toMatchObject({
      joined: ['c'],
      left: ['b'],
      added: ['Even', 'Money.amount'],
      removed: ['@slow', 'Thing implements Named'],
      changed: [
        '@live: FIELD | QUERY → QUERY',
        'Money: Scalar → Object',
        'Odd: Object → Interface',
        'Query.thing(for:): Int! = 1 → Int!',
        'Query.thing(of:): Currency = EUR → Currency = USD',
        'Range.from: Int = 0 → Int = 1',
      ],
    });
  });

  test('an operation that the planner fails on is logged once, with the id that each of its errors has', async () => {
    const thing = 'type Thing @key(fields: "id") { id: ID!';
    const a = await subgraph('type Query { a: Int }');
    const path = supergraphFile({ a: `type Query { thing: Thing } ${thing} }`, b: `${thing} size: Int }` }, a.url);
    // Without its key, nothing leads to the field's subgraph.
    const sdl = readFileSync(path, 'utf8').replaceAll(', key: "id"', '');
    writeFileSync(path, sdl);
    const { url, gateway: running, logs } = await gateway({ SUPERGRAPH_PATH: path });
    await running.ready;
    for (const id of ['first', 'second', 'third']) {
      const answer = await ask(url, '{ thing { size } }', {}, { 'x-request-id': id });
      expect(answer.errors).toMatchObject([{ extensions: { reason: 'PLANNING', requestId: 'first' } }]);
    }
    expect(logs.filter(({ msg }) => msg === 'the query planner failed')).toMatchObject([{ reqId: 'first' }]);
  });

  test.each([
    ['that needs a security feature that the gateway lacks', null, 'authenticated'],
    ['that is empty', '', 'Unexpected <EOF>'],
    ["that has an API's schema", 'type Query { a: Int }', 'it is the schema of an API'],
  ])('a file %s ends the start before the gateway listens', async (_what, sdl, why) => {
    const path = join(mkdtempSync(join(tmpdir(), 'tributary-sdl-')), 'supergraph.graphql');
    if (sdl === null) supergraphFile(UNLOADABLE, 'http://a/', path);
    else writeFileSync(path, sdl);
    await expect(gateway({ SUPERGRAPH_PATH: path })).rejects.toThrow(`got "${path}" (`);
    await expect(gateway({ SUPERGRAPH_PATH: path })).rejects.toThrow(why);
  });

  test('a file that is not there ends the start with its name', async () => {
    await expect(gateway({ SUPERGRAPH_PATH: '/no/such/file' })).rejects.toThrow('/no/such/file');
  });
});
