import type { ServerResponse } from 'node:http';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { ask } from '../../../test/harness/graphql-client.ts';
import { gateway, gatewayOver, over, subgraph } from '../../../test/harness/test-gateway.ts';
import type { Answer, TestRequest } from '../../../test/harness/test-subgraph.ts';
import { until } from '../../../test/harness/until.ts';

const MAX_BYTES = 100_000;
const ENV = { CIRCUIT_BREAKER_FAILURES: '0', SUPERGRAPH_POLL_INTERVAL: '1h', SUBGRAPH_MAX_RESPONSE: String(MAX_BYTES) };
const QUERY = 'query Page { text }';
const BODY = JSON.stringify({ data: { text: 'é"\\'.repeat(2000) } });

/** A gateway over one subgraph that answers as the test defines. */
async function graph(answer: Answer, env: NodeJS.ProcessEnv = {}) {
  const a = await subgraph('type Query { text: String number: Int }');
  const { url } = await gatewayOver({ a }, { ...ENV, ...env });
  a.answerWith(answer);
  return { url, a };
}

function json(
  response: ServerResponse,
  body: string | Buffer,
  status = 200,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body);
}

describe('a compressed response', () => {
  test.each([
    ['gzip', gzipSync],
    ['GZIP', gzipSync],
    ['x-gzip', gzipSync],
    ['deflate', deflateSync],
    ['deflate', deflateRawSync],
    ['br', brotliCompressSync],
    ['identity', (body: string) => Buffer.from(body)],
  ])('in %s is read', async (encoding, compress) => {
    const { url } = await graph((response) => json(response, compress(BODY), 200, { 'content-encoding': encoding }));
    const { data, errors } = await ask(url, QUERY);
    expect(errors).toBeUndefined();
    expect(data).toEqual(JSON.parse(BODY).data);
  });

  test.each([
    ['gzip', gzipSync],
    ['br', brotliCompressSync],
  ])('in %s that becomes larger than the limit fails', async (encoding, compress) => {
    const bomb = compress(`{"data":{"text":"${'x'.repeat(200 * MAX_BYTES)}"}}`);
    expect(bomb.length).toBeLessThan(MAX_BYTES);
    const { url } = await graph((response) => json(response, bomb, 200, { 'content-encoding': encoding }));
    const { errors } = await ask(url, QUERY);
    expect(errors).toMatchObject([{ path: ['text'], extensions: { code: 'SUBGRAPH_UNAVAILABLE' } }]);
    expect(errors?.[0]?.message).toContain(`more than ${MAX_BYTES} bytes`);
  });

  test.each([
    ['zstd', 'x'],
    ['gzip', 'no gzip'],
    ['gzip', gzipSync(BODY).subarray(0, 50)],
    ['br', '\u0000\u0001'],
    ['gzip', ''],
  ])('with a wrong content-encoding (%s) makes only its own fields null', async (encoding, body) => {
    const { url, a } = await graph((response) => json(response, body, 200, { 'content-encoding': encoding }));
    const { data, errors } = await ask(url, QUERY);
    expect(data).toEqual({ text: null });
    expect(errors).toMatchObject([{ path: ['text'], extensions: { code: 'SUBGRAPH_UNAVAILABLE', subgraph: 'a' } }]);
    a.answerWith((response) => json(response, BODY));
    expect((await ask(url, QUERY)).errors).toBeUndefined();
  });

  test('is accepted, though an uncompressed response is preferred', async () => {
    const seen: TestRequest[] = [];
    const { url } = await graph((response, request) => {
      seen.push(request);
      json(response, BODY);
    });
    await ask(url, QUERY);
    expect(seen[0]?.headers['accept-encoding']).toBe('identity, gzip;q=0.5, deflate;q=0.5, br;q=0.5');
  });
});

describe('a subgraph that refuses the caller', () => {
  test.each([
    [401, '', 'UNAUTHENTICATED'],
    [403, '<html>Forbidden</html>', 'FORBIDDEN'],
    [401, '{"message":"no token"}', 'UNAUTHENTICATED'],
    [401, '{"errors":[{"message":"no token"}]}', 'UNAUTHENTICATED'],
    [403, '{"errors":[{"message":"no","extensions":{"code":"NOT_YOURS"}}]}', 'NOT_YOURS'],
  ])('with %i %s is reported to the client', async (status, body, code) => {
    const { url } = await graph((response) => json(response, body, status));
    const { status: answered, data, errors } = await ask(url, 'query Page { text number }');
    expect(answered).toBe(200);
    expect(data).toEqual({ text: null, number: null });
    expect(errors?.map(({ path }) => path)).toEqual([['text'], ['number']]);
    for (const { extensions } of errors ?? []) expect(extensions).toMatchObject({ code, subgraph: 'a' });
  });
});

describe('credentials in the URL of a subgraph', () => {
  test("are sent to it as they are, in place of the client's, and shown nowhere", async () => {
    const a = await subgraph('type Query { text: String }');
    const seen: TestRequest[] = [];
    const secret = { url: a.url.replace('//', '//us%40er:p%C3%A4ss%3Aword@') };
    const started = await gateway({ ...over({ a: { ...a, ...secret } }), ...ENV, SUPERGRAPH_POLL_INTERVAL: '50ms' });
    await started.gateway.ready;
    a.answerWith((response, request) => {
      seen.push(request);
      json(response, BODY);
    });
    const { errors } = await ask(started.url, QUERY, {}, { authorization: 'Bearer client' });
    expect(errors).toBeUndefined();
    expect(seen.at(-1)?.headers.authorization).toBe(`Basic ${Buffer.from('us@er:päss:word').toString('base64')}`);

    await a.down();
    const { problem } = await until(
      async () => (await (await fetch(`${started.url}/health/ready`)).json()) as { problem: string | null },
      (state) => state.problem !== null,
    );
    const { errors: unreachable } = await ask(started.url, QUERY);
    expect(unreachable?.[0]?.extensions.code).toBe('SUBGRAPH_UNAVAILABLE');
    const metrics = await (await fetch(`${started.url}/metrics`)).text();
    for (const shown of [problem, JSON.stringify(unreachable), metrics])
      expect(shown).not.toMatch(/us%40er|p%C3|us@er/);
  });

  test("without any, the client's are sent", async () => {
    const seen: TestRequest[] = [];
    const { url } = await graph((response, request) => {
      seen.push(request);
      json(response, BODY);
    });
    await ask(url, QUERY, {}, { authorization: 'Bearer client' });
    expect(seen.at(-1)?.headers.authorization).toBe('Bearer client');
  });
});

describe('malformed errors of a subgraph are reported, not lost', () => {
  test.each([
    ['a list of texts', '{"data":{"text":null,"number":1},"errors":["boom"]}', ['text']],
    ['an object', '{"data":{"text":null,"number":1},"errors":{"message":"boom"}}', ['text']],
    ['a text', '{"data":{"text":null,"number":1},"errors":"boom"}', ['text']],
    [
      'a place that is none',
      '{"data":{"text":null,"number":1},"errors":[{"message":"boom","path":["other"]}]}',
      ['text'],
    ],
    ['none at all', '{"data":null}', ['text', 'number']],
    ['an empty list', '{"data":null,"errors":[]}', ['text', 'number']],
    ['one of two', '{"data":null,"errors":[{"message":"boom","path":["number"]}]}', ['number', 'text']],
  ])('%s', async (_name, body, places) => {
    const { url } = await graph((response) => json(response, body));
    const { errors } = await ask(url, 'query Page { text number }');
    expect(errors?.map(({ path }) => path?.join('.'))).toEqual(places);
  });

  test('nor those of entities', async () => {
    const a = await subgraph('type Query { things: [Thing] } type Thing @key(fields: "id") { id: ID! }');
    const b = await subgraph('type Thing @key(fields: "id") { id: ID! size: Int }');
    const { url } = await gatewayOver({ a, b }, ENV);
    a.answerWith((response) =>
      json(response, '{"data":{"things":[{"__typename":"Thing","id":"1"},{"__typename":"Thing","id":"2"}]}}'),
    );
    for (const [body, things] of [
      [
        '{"data":{"_entities":[{"size":null},{"size":2}]},"errors":[{"message":"a","path":["_entities",99,"size"]}]}',
        [0],
      ],
      ['{"data":{"_entities":[{"size":null},{"size":2}]},"errors":["boom"]}', [0]],
      ['{"data":null}', [0, 1]],
      ['{"data":{"_entities":null}}', [0, 1]],
      ['{"data":null,"errors":[{"message":"a","path":["_entities",1]}]}', [0, 1]],
    ] as const) {
      b.answerWith((response) => json(response, body));
      const { errors } = await ask(url, 'query Page { things { id size } }');
      const paths = things.map((i) => ['things', i, 'size']);
      expect(errors, body).toMatchObject([
        { path: paths[0], extensions: things.length > 1 ? { paths, pathCount: paths.length } : {} },
      ]);
    }
  });
});

describe('a batch of fetches', () => {
  const entity = (type: string) =>
    `{"data":{"_entities":[{"__typename":"${type}","${type === 'Fast' ? 'x' : 'y'}":1}]}}`;

  /** A gateway over a subgraph that has two entities, and one that is asked for a field of each, at once. */
  async function twoEntities(answer: Answer, env: NodeJS.ProcessEnv = {}) {
    const a = await subgraph(`type Query { fast: Fast slow: Slow }
      type Fast @key(fields: "id") { id: ID! } type Slow @key(fields: "id") { id: ID! }`);
    const b = await subgraph(
      `type Fast @key(fields: "id") { id: ID! x: Int } type Slow @key(fields: "id") { id: ID! y: Int }`,
    );
    const { url } = await gatewayOver({ a, b }, { ...ENV, ...env });
    a.answerWith((response) =>
      json(response, '{"data":{"fast":{"__typename":"Fast","id":"1"},"slow":{"__typename":"Slow","id":"1"}}}'),
    );
    const asked: string[] = [];
    b.answerWith((response, request) => {
      asked.push(request.query);
      answer(response, request);
    });
    const run = () => ask(url, 'query Page { fast { x } slow { y } }');
    return { run, asked, b };
  }

  test('that timed out is split and retried, so that the fast part succeeds', async () => {
    const { run, asked } = await twoEntities(
      (response, { query }) => {
        if (!query.includes('Slow')) json(response, entity('Fast'));
      },
      { SUBGRAPH_TIMEOUT: '150ms' },
    );
    const { data, errors } = await run();
    expect(data).toEqual({ fast: { x: 1 }, slow: { y: null } });
    expect(errors).toMatchObject([{ path: ['slow', 'y'], extensions: { code: 'TIMEOUT' } }]);
    expect(asked).toHaveLength(3);
  });

  test('whose response is too large is split and retried', async () => {
    const { run } = await twoEntities((response, { query }) =>
      json(response, query.includes('Slow') ? `"${'x'.repeat(MAX_BYTES)}"` : entity('Fast')),
    );
    const { data, errors } = await run();
    expect(data).toEqual({ fast: { x: 1 }, slow: { y: null } });
    expect(errors).toMatchObject([{ path: ['slow', 'y'], extensions: { code: 'SUBGRAPH_UNAVAILABLE' } }]);
  });

  test.each<[string, Answer, string]>([
    ['a subgraph that cuts the connection', (response) => response.destroy(), 'SUBGRAPH_UNAVAILABLE'],
    ['a proxy', (response) => response.writeHead(502).end('<html>Bad gateway</html>'), 'SUBGRAPH_UNAVAILABLE'],
    [
      'a subgraph that is overloaded',
      (response) => json(response, '{"errors":[{"message":"later","extensions":{"code":"RATE_LIMITED"}}]}', 503),
      'RATE_LIMITED',
    ],
    ['a subgraph that refuses the caller', (response) => response.writeHead(401).end(), 'UNAUTHENTICATED'],
  ])('that fails because of %s is not retried, and each path has the error', async (_name, answer, code) => {
    const { run, asked } = await twoEntities(answer);
    const { data, errors } = await run();
    expect(data).toEqual({ fast: { x: null }, slow: { y: null } });
    expect(errors?.map(({ path, extensions }) => [path, extensions.code])).toEqual([
      [['fast', 'x'], code],
      [['slow', 'y'], code],
    ]);
    // A connection that broke before an answer is tried once more.
    expect(new Set(asked).size).toBe(1);
  });

  test('to a subgraph that is down is not retried', async () => {
    const { run, b } = await twoEntities(() => undefined);
    await b.down();
    const { errors } = await run();
    expect(errors?.map(({ path }) => path)).toEqual([
      ['fast', 'x'],
      ['slow', 'y'],
    ]);
  });
});

test("only a request without a staleness bound joins another client's fetch in flight", async () => {
  const waiting: ServerResponse[] = [];
  const { url } = await graph((response) => void waiting.push(response), { SUBGRAPH_TIMEOUT: '20s' });
  const answerAll = () => {
    for (const response of waiting.splice(0)) json(response, '{"data":{"number":1}}');
  };
  const query = 'query Page { number }';
  // An operation is shared from its second run on.
  const first = ask(url, query);
  await until(
    async () => waiting.length,
    (count) => count === 1,
  );
  answerAll();
  await first;

  const answers = [ask(url, query)];
  await until(
    async () => waiting.length,
    (count) => count === 1,
  );
  // Each sends its own, also while another with the same bound is in flight.
  const bounded = 'query Page @maxStaleness(of: "0") { number }';
  const requests = [
    () => ask(url, query, {}, { 'x-max-staleness': '0' }),
    () => ask(url, query, {}, { 'x-max-staleness': '0' }),
    () => ask(url, bounded),
    () => ask(url, bounded),
  ];
  for (const [i, each] of requests.entries()) {
    answers.push(each());
    await until(
      async () => waiting.length,
      (count) => count === i + 2,
    );
  }
  answerAll();
  for (const { data } of await Promise.all(answers)) expect(data).toEqual({ number: 1 });
});
