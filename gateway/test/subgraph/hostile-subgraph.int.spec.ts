import type { ServerResponse } from 'node:http';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ask } from '../../../test/harness/graphql-client.ts';
import { gatewayOver, subgraph } from '../../../test/harness/test-gateway.ts';
import type { TestSubgraph } from '../../../test/harness/test-subgraph.ts';
import { until } from '../../../test/harness/until.ts';

const QUERY = '{ things { id size kind tags { name } note } }';
const MAX_BYTES = 200_000;
const ENV = {
  // Once is enough: what the subgraph says later is not a schema.
  SUPERGRAPH_POLL_INTERVAL: '1h',
  SUBGRAPH_MAX_RESPONSE: String(MAX_BYTES),
  CIRCUIT_BREAKER_FAILURES: '0',
};

/** A gateway over an honest subgraph, which has the things, and a hostile one, which has their fields. */
async function graph(env: NodeJS.ProcessEnv = {}) {
  const honest = await subgraph('type Query { things: [Thing] } type Thing @key(fields: "id") { id: ID! }');
  const hostile = await subgraph(`
    scalar Any
    enum Kind { GOOD BAD }
    type Tag { name: String! }
    type Query { hello: String }
    type Thing @key(fields: "id") { id: ID! size: Int kind: Kind tags: [Tag!] note: Any }`);
  const { url } = await gatewayOver({ honest, hostile }, { ...ENV, ...env });
  honest.answerWith((response) =>
    json(response, '{"data":{"things":[{"__typename":"Thing","id":"1"},{"__typename":"Thing","id":"2"}]}}'),
  );
  return { url, honest, hostile };
}

function json(response: ServerResponse, body: string | Buffer): void {
  response.setHeader('content-type', 'application/json');
  response.end(body);
}

const entities = (text: string) => (response: ServerResponse) => json(response, `{"data":{"_entities":${text}}}`);
const good = entities(
  '[{"size":1,"kind":"GOOD","tags":[],"note":{"a":[1]}},{"size":2,"kind":"BAD","tags":null,"note":"n"}]',
);

const NOTHING = { size: null, kind: null, tags: null, note: null };

async function answersAgain(url: string, hostile: TestSubgraph) {
  hostile.answerWith(good);
  const { data, errors } = await ask(url, QUERY);
  expect(errors).toBeUndefined();
  expect(data.things[1]).toEqual({ id: '2', size: 2, kind: 'BAD', tags: null, note: 'n' });
}

describe('a subgraph that answers with', () => {
  test.each<[string, (response: ServerResponse) => void, string]>([
    ['no JSON', (response) => json(response, 'Hello!'), 'SUBGRAPH_UNAVAILABLE'],
    ['nothing', (response) => json(response, ''), 'SUBGRAPH_UNAVAILABLE'],
    [
      'a page of a proxy',
      (response) => response.writeHead(502).end('<html>Bad gateway</html>'),
      'SUBGRAPH_UNAVAILABLE',
    ],
    ['a redirection', (response) => response.writeHead(302, { location: '/elsewhere' }).end(), 'SUBGRAPH_UNAVAILABLE'],
    [
      'half of its answer',
      (response) => response.writeHead(200, { 'content-length': 500 }).write('{"data":', () => response.destroy()),
      'SUBGRAPH_UNAVAILABLE',
    ],
    ['a closed connection', (response) => response.destroy(), 'SUBGRAPH_UNAVAILABLE'],
    [
      'bytes that are no text',
      (response) => json(response, Buffer.from([0xff, 0xfe, 0x00, 0x80])),
      'SUBGRAPH_UNAVAILABLE',
    ],
    ['more than is read', (response) => json(response, 'x'.repeat(MAX_BYTES + 1)), 'SUBGRAPH_UNAVAILABLE'],
    [
      'more, without end',
      (response) => {
        const more = () => {
          while (!response.destroyed && response.write('x'.repeat(65_536)));
        };
        response.on('drain', more).on('error', () => undefined);
        more();
      },
      'SUBGRAPH_UNAVAILABLE',
    ],
    ['nothing at all, ever', () => undefined, 'TIMEOUT'],
    [
      'a byte now and then',
      (response) => {
        const timer = setInterval(() => response.write(' '), 50);
        response.once('close', () => clearInterval(timer));
      },
      'TIMEOUT',
    ],
    ['fewer entities', entities('[{"size":1}]'), 'INVALID_SUBGRAPH_RESPONSE'],
    ['more entities', entities('[{"size":1},{"size":2},{"size":3}]'), 'INVALID_SUBGRAPH_RESPONSE'],
    ['entities that are no list', entities('{"0":{"size":1}}'), 'INVALID_SUBGRAPH_RESPONSE'],
    ['data that is a list', (response) => json(response, '{"data":[1,2]}'), 'SUBGRAPH_UNAVAILABLE'],
    [
      'an error without a place',
      (response) => json(response, '{"data":null,"errors":[{"message":"no"}]}'),
      'DOWNSTREAM_SERVICE_ERROR',
    ],
    [
      'errors that are none',
      (response) => json(response, '{"data":null,"errors":[null,1,"x",{"message":5,"path":"here","extensions":[]}]}'),
      'DOWNSTREAM_SERVICE_ERROR',
    ],
    [
      'errors at places that are none',
      (response) =>
        json(
          response,
          '{"data":null,"errors":[{"message":"a","path":["_entities",-1]},{"message":"b","path":["_entities",1e9,"x"]},{"message":"c","path":[{"a":1}]}]}',
        ),
      'DOWNSTREAM_SERVICE_ERROR',
    ],
  ])('%s costs its own fields', async (_name, answer, code) => {
    const { url, hostile } = await graph();
    hostile.answerWith(answer);
    const { status, data, errors } = await ask(url, QUERY);
    expect(status).toBe(200);
    expect(data).toEqual({
      things: [
        { id: '1', ...NOTHING },
        { id: '2', ...NOTHING },
      ],
    });
    expect(errors?.length).toBeGreaterThan(0);
    for (const error of errors ?? []) expect(error.extensions).toMatchObject({ code, subgraph: 'hostile' });
    await answersAgain(url, hostile);
  });

  test('more errors than are listed costs no more than those that are', async () => {
    const { url, honest } = await graph({ SUBGRAPH_MAX_RESPONSE: '10000000' });
    const errors = Array.from({ length: 20_000 }, (_, i) => ({
      message: `e${i}`,
      locations: [{ line: 1, column: 5 }],
    }));
    honest.answerWith((response) => json(response, JSON.stringify({ data: null, errors })));
    const aliases = Array.from({ length: 100 }, (_, i) => `a${i}: things { id }`).join(' ');
    const before = process.cpuUsage();
    const answer = await ask(url, `{ ${aliases} }`);
    expect(process.cpuUsage(before).user / 1000).toBeLessThan(4000);
    expect(answer.errors).toHaveLength(1001);
    expect(answer.errors?.at(-1)?.extensions.code).toBe('TOO_MANY_ERRORS');
  });

  test('values of other types costs those values', async () => {
    const { url, hostile } = await graph();
    hostile.answerWith(
      entities(
        '[{"size":"big","kind":"UGLY","tags":[{"name":1}],"note":"fine"},{"size":3,"kind":7,"tags":"none","__typename":"Thing"}]',
      ),
    );
    const { data, errors } = await ask(url, QUERY);
    expect(data).toEqual({
      things: [
        { id: '1', size: null, kind: null, tags: null, note: 'fine' },
        { id: '2', size: 3, kind: null, tags: null, note: null },
      ],
    });
    expect(errors?.map(({ path }) => path?.join('.'))).toEqual([
      'things.0.size',
      'things.0.kind',
      'things.0.tags.0.name',
      'things.1.kind',
      'things.1.tags',
    ]);
  });

  describe('values that do not fit loses those only:', () => {
    /** A gateway over a subgraph that gives this as its data, whatever it is asked. */
    async function answering(data: string) {
      const a = await subgraph(`
        scalar Any
        union Result = Thing | Place
        interface Named { name: String }
        type Query { thing: Thing other: Int any: Result named: Named list: [Result] f: Float i: Int id: ID free: Any }
        type Thing implements Named @key(fields: "id") { id: ID! name: String }
        type Place { name: String }
        type Elsewhere { name: String }
        extend type Query { elsewhere: Elsewhere }`);
      const { url } = await gatewayOver({ a }, ENV);
      a.answerWith((response) => json(response, `{"data":${data}}`));
      return async (fields: string) => {
        const response = await fetch(`${url}/graphql`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ query: `query Page { ${fields} }` }),
        });
        // Not JSON as it should be fails here.
        const { data: shown, errors = [] } = JSON.parse(await response.text());
        const places = errors.map(({ path }: { path: string[] }) => path.join('.'));
        const codes = new Set(errors.map(({ extensions }: { extensions: { code: string } }) => extensions.code));
        expect([...codes]).toEqual(errors.length > 0 ? ['INVALID_SUBGRAPH_RESPONSE'] : []);
        return { data: shown, places };
      };
    }

    test.each([
      [
        'another type of the schema',
        'thing { id name }',
        '{"thing":{"__typename":"Place","id":"1","name":"x"}',
        'thing',
      ],
      ['the root', 'thing { __typename id }', '{"thing":{"__typename":"Query","id":"1"}', 'thing'],
      ['an unrelated type for a union', 'any { __typename }', '{"any":{"__typename":"Elsewhere"}', 'any'],
      ['the root for a union', 'any { __typename }', '{"any":{"__typename":"Query"}', 'any'],
      [
        'an unrelated type for an interface',
        'named { __typename name }',
        '{"named":{"__typename":"Place","name":"x"}',
        'named',
      ],
      ['a Float that overflowed', 'f', '{"f":1e400', 'f'],
      ['a Float that overflowed below zero', 'f', '{"f":-1e400', 'f'],
      ['an Int of more than 32 bits', 'i', '{"i":2147483648', 'i'],
      ['an Int that overflowed', 'i', '{"i":1e400', 'i'],
      ['an ID that is no whole number', 'id', '{"id":1.5', 'id'],
      ['an ID that lost digits', 'id', '{"id":12345678901234567890', 'id'],
      ['a scalar of its own that overflowed', 'free', '{"free":1e400', 'free'],
      ['a scalar of its own in which something overflowed', 'free', '{"free":{"a":[1,{"b":1e400}]}', 'free'],
    ])('%s', async (_name, fields, start, place) => {
      const run = await answering(`${start},"other":3}`);
      expect(await run(`${fields} other`)).toEqual({ data: { [place]: null, other: 3 }, places: [place] });
    });

    test('in a list, what does not fit', async () => {
      const run = await answering(
        '{"list":[{"__typename":"Thing","id":"1"},{"__typename":"Elsewhere"},{"__typename":"Place"}]}',
      );
      const { data, places } = await run('list { __typename ... on Thing { id } }');
      expect(data).toEqual({ list: [{ __typename: 'Thing', id: '1' }, null, { __typename: 'Place' }] });
      expect(places).toEqual(['list.1']);
    });

    test('and what fits stays', async () => {
      const run = await answering(
        '{"i":-2147483648,"id":7,"f":1e300,"free":{"a":[1e300]},"named":{"__typename":"Thing","name":"x"}}',
      );
      expect(await run('i id f free named { name }')).toEqual({
        data: { i: -2_147_483_648, id: '7', f: 1e300, free: { a: [1e300] }, named: { name: 'x' } },
        places: [],
      });
    });
  });

  test('names that would change what objects are, changes nothing', async () => {
    const { url, hostile } = await graph();
    hostile.answerWith(
      entities(
        '[{"__proto__":{"size":9,"polluted":true},"size":1},{"constructor":{"prototype":{"polluted":true}},"size":2}]',
      ),
    );
    const { data } = await ask(url, '{ things { size } }');
    expect(data).toEqual({ things: [{ size: 1 }, { size: 2 }] });
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  test('an error for each of very many places lists some of them', async () => {
    const { url, hostile } = await graph();
    const errors = Array.from({ length: 3000 }, (_, i) => `{"message":"e${i}","path":["_entities",${i % 2},"size"]}`);
    hostile.answerWith((response) => json(response, `{"data":{"_entities":[{},{}]},"errors":[${errors}]}`));
    const answer = await ask(url, QUERY);
    expect(answer.errors).toHaveLength(1001);
    expect(answer.errors?.at(-1)?.message).toContain('more errors');
  });

  test('JSON that is nested deeper than can be followed costs no more than the answer', async () => {
    const { url, hostile } = await graph();
    const deep = `${'['.repeat(90_000)}${']'.repeat(90_000)}`;
    hostile.answerWith(entities(`[{"size":1,"note":${deep}},{"size":2,"other":${deep}}]`));
    const { status, errors } = await ask(url, QUERY);
    expect(status).toBe(200);
    expect(errors?.length ?? 0).toBeGreaterThan(0);
    await answersAgain(url, hostile);
  });

  test('anything that is JSON is answered by what the schema allows', async () => {
    const { url, hostile } = await graph();
    const thing = fc.oneof(
      fc.jsonValue(),
      fc.record(
        { size: fc.jsonValue(), kind: fc.jsonValue(), tags: fc.jsonValue(), note: fc.jsonValue() },
        { requiredKeys: [] },
      ),
    );
    const result = fc.oneof(
      fc.jsonValue(),
      fc.record(
        {
          data: fc.oneof(fc.jsonValue(), fc.record({ _entities: fc.array(thing, { maxLength: 3 }) })),
          errors: fc.jsonValue(),
        },
        { requiredKeys: [] },
      ),
    );
    await fc.assert(
      fc.asyncProperty(result, async (value) => {
        hostile.answerWith((response) => json(response, JSON.stringify(value)));
        const { status, data } = await ask(url, QUERY);
        expect(status).toBe(200);
        expect(data.things).toHaveLength(2);
        for (const { id, size, kind, tags } of data.things) {
          expect(['1', '2']).toContain(id);
          expect(size === null || Number.isInteger(size)).toBe(true);
          expect([null, 'GOOD', 'BAD']).toContain(kind);
          for (const tag of tags ?? []) expect(tag).toEqual({ name: expect.any(String) });
        }
      }),
      { numRuns: 200 },
    );
  });
});

test("a subgraph that does not answer gets no client's request until it answers a probe", async () => {
  const { url, hostile } = await graph({
    CIRCUIT_BREAKER_FAILURES: '3',
    CIRCUIT_BREAKER_RESET: '300ms',
    SUBGRAPH_TIMEOUT: '50ms',
  });
  let asked = 0;
  hostile.answerWith((_response, { query }) => {
    if (query !== '{ __typename }') asked += 1;
  });
  const reason = async () => (await ask(url, QUERY)).errors?.[0]?.extensions.reason;
  await until(reason, (given) => given === 'CIRCUIT_OPEN');
  const before = asked;
  expect([await reason(), await reason()]).toEqual(['CIRCUIT_OPEN', 'CIRCUIT_OPEN']);
  expect(asked).toBe(before);
  expect(await (await fetch(`${url}/metrics`)).text()).toMatch(
    /gateway_subgraph_circuit_open\{subgraph="hostile".*\} 1/,
  );
  hostile.answerWith(good);
  const { data } = await until(
    () => ask(url, QUERY),
    ({ errors }) => errors === undefined,
  );
  expect(data.things[0].size).toBe(1);
});

test('memory does not grow with what a subgraph sends', async () => {
  const { url, hostile } = await graph();
  const body = `{"data":{"_entities":[${`{"note":"${'x'.repeat(90_000)}"},`.repeat(2).slice(0, -1)}]}}`;
  hostile.answerWith((response) => json(response, body));
  const run = () => Promise.all(Array.from({ length: 20 }, () => ask(url, QUERY)));
  for (let i = 0; i < 5; i++) await run();
  const before = process.memoryUsage().rss;
  for (let i = 0; i < 20; i++) await run();
  expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
});
