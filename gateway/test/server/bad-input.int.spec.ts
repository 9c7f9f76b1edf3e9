import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../../../test/harness/graph.ts';
import { uncatalogued } from '../../../test/harness/graphql-client.ts';

let graph: TestGraph;
beforeAll(async () => {
  graph = await startGraph();
});
afterAll(() => graph?.stop());

/** A checksum of everything that a client could change. */
async function state(): Promise<unknown[]> {
  return [
    await graph.databases.query('users', 'select md5(string_agg(t::text, $1 order by id)) from users t', ['|']),
    await graph.databases.query('users', 'select count(*), sum(amount) from account_entries'),
    await graph.databases.query('products', 'select md5(string_agg(t::text, $1 order by id)) from products t', ['|']),
    await graph.databases.query('products', 'select sum(on_hand), count(*) from stock'),
    await graph.databases.query('orders', 'select count(*) from order_events'),
  ];
}

async function post(body: string, headers: Record<string, string> = { 'content-type': 'application/json' }) {
  const response = await fetch(`${graph.urls.gateway}/graphql`, { method: 'POST', headers, body });
  const text = await response.text();
  expect(uncatalogued(JSON.parse(text))).toEqual([]);
  return { status: response.status, body: text };
}

const PRODUCT = '{ sku: "S", name: "N", category: "C", subCategory: "D", price: "1" }';
const product = (change: Record<string, string>) => {
  const fields = { sku: '"S"', name: '"N"', category: '"C"', subCategory: '"D"', price: '"1"', ...change };
  return `mutation { createProduct(input: { ${Object.entries(fields)
    .map(([name, value]) => `${name}: ${value}`)
    .join()} }) { id } }`;
};
const register = (name: string, email: string) =>
  `mutation { registerUser(input: { name: "${name}", email: "${email}" }) { id } }`;
const price = (amount: string) => `mutation { changePrice(id: "FUR-BO-10001798", price: ${amount}) { id } }`;
const restock = (quantity: number | string, key = 'k') =>
  `mutation { restock(id: "FUR-BO-10001798", quantity: ${quantity}, idempotencyKey: "${key}") { id } }`;

describe('is answered with a code, without a stack trace, and changes nothing:', () => {
  test.each([
    ['an unknown field', '{ user(id: "CG-12520") { shoeSize } }', 'GRAPHQL_VALIDATION_FAILED', 'shoeSize'],
    ['a syntax error', '{ user(id: ', 'GRAPHQL_PARSE_FAILED', 'Syntax Error'],
    ['a missing argument', '{ user { name } }', 'GRAPHQL_VALIDATION_FAILED', 'id'],
    ['a number for a text', '{ product(sku: 5) { name } }', 'GRAPHQL_VALIDATION_FAILED', 'String'],
    [
      'an enum value that is none',
      '{ products(sort: CHEAPEST) { totalCount } }',
      'GRAPHQL_VALIDATION_FAILED',
      'CHEAPEST',
    ],
    ['a page that is too large', '{ orders(first: 100000) { totalCount } }', 'BAD_USER_INPUT', 'between 0 and 100'],
    ['a page of a negative size', '{ users(first: -1) { totalCount } }', 'BAD_USER_INPUT', 'between 0 and 100'],
    ['a broken cursor', '{ orders(after: "hello") { totalCount } }', 'BAD_USER_INPUT', 'not a cursor'],
    [
      'a cursor of another order',
      '{ products(sort: NEWEST, after: "WyJwcm9kdWN0czpOQU1FIiwiYSIsImIiXQ") { totalCount } }',
      'BAD_USER_INPUT',
      'another sort order',
    ],
    ['an order by nothing', '{ order { id } }', 'BAD_USER_INPUT', 'exactly one'],
    ['a product by two keys', '{ product(id: "a", sku: "b") { id } }', 'BAD_USER_INPUT', 'exactly one'],
    [
      'a day that is none',
      '{ order(number: "x", asOf: "2016-02-30T00:00:00Z") { id } }',
      'GRAPHQL_VALIDATION_FAILED',
      'RFC 3339',
    ],
    [
      'an empty price range',
      '{ products(filter: { minPrice: "2", maxPrice: "1" }) { totalCount } }',
      'BAD_USER_INPUT',
      'above',
    ],
    ['a NUL character', '{ user(id: "a\\\\u0000b") { name } }', 'BAD_USER_INPUT', 'cannot be stored'],
    ['an empty name', register('  ', 'a@b.test'), 'BAD_USER_INPUT', 'must not be empty'],
    ['a name that is too long', register('n'.repeat(201), 'a@b.test'), 'BAD_USER_INPUT', 'at most 200'],
    ['an e-mail address that is none', register('A', 'nobody'), 'BAD_USER_INPUT', 'not an e-mail address'],
    ['an e-mail address that is taken', register('A', 'CLAIRE.GUTE@example.com'), 'CONFLICT', 'e-mail'],
    [
      'a stale version of a user',
      'mutation { updateUser(id: "CG-12520", input: { name: "X", expectedVersion: 7 }) { id } }',
      'CONFLICT',
      'at version 1, not 7',
    ],
    [
      'a stale version of a product',
      'mutation { updateProduct(id: "FUR-BO-10001798", input: { name: "X", expectedVersion: 7 }) { id } }',
      'CONFLICT',
      'at version 1, not 7',
    ],
    [
      'deleting by an update',
      'mutation { updateUser(id: "CG-12520", input: { status: DELETED }) { id } }',
      'BAD_USER_INPUT',
      'deleteUser',
    ],
    ['an unknown user', 'mutation { updateUser(id: "nobody", input: { name: "X" }) { id } }', 'NOT_FOUND', 'nobody'],
    ['an unknown product', 'mutation { discontinueProduct(id: "nothing") { id } }', 'NOT_FOUND', 'nothing'],
    ['a negative quantity', restock(-5), 'BAD_USER_INPUT', 'from 1 to'],
    ['a quantity of zero', restock(0), 'BAD_USER_INPUT', 'from 1 to'],
    ['a fraction of a unit', restock('1.5'), 'GRAPHQL_VALIDATION_FAILED', 'Int'],
    ['a quantity beyond Int', restock('99999999999'), 'GRAPHQL_VALIDATION_FAILED', 'Int'],
    ['an empty idempotency key', restock(1, ' '), 'BAD_USER_INPUT', 'idempotencyKey'],
    ['a negative price', price('"-1"'), 'BAD_USER_INPUT', 'above 0'],
    ['a fraction of a cent', price('"1.005"'), 'BAD_USER_INPUT', 'two decimals'],
    ['a price in floating point', price('1.5'), 'GRAPHQL_VALIDATION_FAILED', 'Decimal'],
    ['a price in words', price('"cheap"'), 'GRAPHQL_VALIDATION_FAILED', 'Decimal'],
    [
      'negative money',
      'mutation { deposit(userId: "CG-12520", amount: "-5", idempotencyKey: "k") { balance { amount } } }',
      'BAD_USER_INPUT',
      'above 0',
    ],
    [
      'too much money',
      'mutation { deposit(userId: "CG-12520", amount: "1000000.01", idempotencyKey: "k") { balance { amount } } }',
      'BAD_USER_INPUT',
      'at most',
    ],
    [
      'money for an unknown user',
      'mutation { deposit(userId: "nobody", amount: "5", idempotencyKey: "k") { balance { amount } } }',
      'NOT_FOUND',
      'nobody',
    ],
    ['a SKU that is taken', product({ sku: '"FUR-BO-10001798"' }), 'CONFLICT', 'SKU'],
    ['a negative opening stock', product({ onHand: '-1' }), 'BAD_USER_INPUT', 'onHand'],
    ['attributes that are no object', product({ attributes: '[1]' }), 'BAD_USER_INPUT', 'JSON object'],
    [
      'two operations and no name',
      `query a { categories { name } } mutation b { createProduct(input: ${PRODUCT}) { id } }`,
      'OPERATION_RESOLUTION_FAILURE',
      'operationName',
    ],
    ['a subscription', 'subscription { x }', 'GRAPHQL_VALIDATION_FAILED', 'Subscriptions are not supported'],
  ])('%s', async (_what, query, code, words) => {
    const before = await state();
    const { body } = await post(`{"query":${JSON.stringify(query).replaceAll('\\\\\\\\u0000', '\\\\u0000')}}`);
    const { errors } = JSON.parse(body);
    expect(errors[0].extensions.code).toBe(code);
    expect(errors[0].message).toContain(words);
    expect(body).not.toMatch(/stacktrace|node_modules|at .*\.js:\d+/);
    expect(await state()).toEqual(before);
  });

  const user = 'query ($id: ID!) { user(id: $id) { name } }';
  test.each([
    ['a variable of the wrong type', { query: user, variables: { id: { a: 1 } } }, 'BAD_USER_INPUT', '$id'],
    ['a variable that is missing', { query: user }, 'BAD_USER_INPUT', '$id'],
    ['variables that are no object', { query: '{ me { id } }', variables: [1] }, 'BAD_REQUEST', 'must be an object'],
    ['no query', { variables: {} }, 'BAD_REQUEST', '"query" is required and must be a string'],
    ['a query that is no text', { query: 5 }, 'BAD_REQUEST', '"query" is required and must be a string'],
    [
      'an operation that is not there',
      { query: 'query a { me { id } }', operationName: 'b' },
      'OPERATION_RESOLUTION_FAILURE',
      'got "b"',
    ],
    [
      'the hash of a query, and no query',
      {
        extensions: {
          persistedQuery: {
            version: 1,
            sha256Hash: 'ecf4edb46db40b5132295c0291d62fb65d6759a9eedfa4d5d612dd5ec54a6b38',
          },
        },
      },
      'PERSISTED_QUERY_NOT_SUPPORTED',
      'PersistedQueryNotSupported',
    ],
    [
      'the hash of a query, and an empty query',
      { query: '', extensions: { persistedQuery: { version: 1, sha256Hash: 'ecf4edb46db40b51' } } },
      'PERSISTED_QUERY_NOT_SUPPORTED',
      'PersistedQueryNotSupported',
    ],
  ])('%s', async (_what, request, code, words) => {
    for (const door of ['gateway', 'users'] as const) {
      const response = await fetch(`${graph.urls[door]}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(request),
      });
      const answer = (await response.json()) as { errors: { message: string; extensions: { code: string } }[] };
      expect(uncatalogued(answer), door).toEqual([]);
      const { errors } = answer;
      expect(errors[0]?.extensions.code, door).toBe(code);
      expect(errors[0]?.message, door).toContain(words);
    }
  });
});

describe('a value that does not fit a scalar of the services is refused before anything runs:', () => {
  const stock = (value: string) =>
    `restock(id: "FUR-BO-10001798", quantity: 1, idempotencyKey: "before") { id }
     deposit(userId: "CG-12520", amount: ${value}, idempotencyKey: "bad") { balance { amount } }`;
  const withAttributes = (value: string) =>
    `mutation Create { createProduct(input: ${PRODUCT.replace(' }', `, attributes: ${value} }`)}) { id } }`;
  test.each([
    [
      'a variable',
      `mutation Two($amount: Decimal!) { ${stock('$amount')} }`,
      { amount: 'abc' },
      'BAD_USER_INPUT',
      '$amount',
    ],
    ['a literal', `mutation Two { ${stock('"abc"')} }`, {}, 'GRAPHQL_VALIDATION_FAILED', 'abc'],
    [
      'a default',
      `mutation Two($amount: Decimal! = "abc") { ${stock('$amount')} }`,
      {},
      'GRAPHQL_VALIDATION_FAILED',
      'abc',
    ],
    [
      'a moment',
      'query At($bad: DateTime) { order(id: "x", asOf: $bad) { id } }',
      { bad: 'yesterday' },
      'BAD_USER_INPUT',
      '$bad',
    ],
    [
      'a moment in an input object',
      'query In($filter: OrderFilter) { orders(filter: $filter) { totalCount } }',
      { filter: { placedAfter: '2016-02-30T00:00:00Z' } },
      'BAD_USER_INPUT',
      '$filter',
    ],
    ['a number that JSON cannot hold', withAttributes('{ e: 1e400 }'), {}, 'GRAPHQL_VALIDATION_FAILED', 'out of range'],
  ])('%s', async (_what, query, variables, code, words) => {
    const before = await state();
    const answer = JSON.parse((await post(JSON.stringify({ query, variables }))).body);
    expect(answer).not.toHaveProperty('data');
    expect(answer.errors[0].extensions.code).toBe(code);
    expect(answer.errors[0].message).toContain(words);
    expect(await state()).toEqual(before);
  });
});

describe("one client's request does not change what another's means:", () => {
  const send = async (request: object) => JSON.parse((await post(JSON.stringify(request))).body);
  const query = 'query GetOrder {\n  order(number: "CA-2016-152156") { id }\n}';
  const answer = { data: { order: { id: 'CA-2016-152156' } } };

  test('the name before the text, and the first line as the name', async () => {
    await Promise.all([
      send({ query: `GetOrder\n${query}` }),
      send({ operationName: 'query GetOrder {', query: query.slice(query.indexOf('\n') + 1) }),
    ]);
    expect(await send({ operationName: 'GetOrder', query })).toEqual(answer);
    expect(await send({ query })).toEqual(answer);
  });

  test('a variable with a name that the gateway uses itself', async () => {
    const named = `query Both($representations_0: Int) {
      user(id: "CG-12520") { orders(first: $representations_0) { totalCount } }
      b: user(id: "DV-13045") { orderStats { orderCount } }
    }`;
    const { data, errors } = await send({ query: named, variables: { representations_0: 1 } });
    expect(errors).toBeUndefined();
    expect(data).toMatchObject({
      user: { orders: { totalCount: expect.any(Number) } },
      b: { orderStats: { orderCount: expect.any(Number) } },
    });
  });
});

describe('HTTP', () => {
  test('malformed JSON is 400', async () => {
    const { status, body } = await post('{"query": "{ me');
    expect(status).toBe(400);
    expect(JSON.parse(body).errors[0]).toEqual({
      message: 'Malformed request: the body must be JSON.',
      extensions: { code: 'BAD_REQUEST' },
    });
  });

  test('a body of 10 MB is 413, and the client can read the answer', async () => {
    const { status, body } = await post(JSON.stringify({ query: '{ me { id } }', padding: 'x'.repeat(10_000_000) }));
    expect(status).toBe(413);
    expect(JSON.parse(body).errors[0].extensions).toEqual({ code: 'BAD_REQUEST', reason: 'BODY_SIZE' });
    expect((await graph.ask('{ categories { name } }')).errors).toBeUndefined();
  });

  test('another media type is 415: a form on another site cannot send a mutation', async () => {
    const { status } = await post('query=mutation', { 'content-type': 'application/x-www-form-urlencoded' });
    expect(status).toBe(415);
    expect((await post('{"query":"{ me { id } }"}', { 'content-type': 'text/plain' })).status).toBe(415);
  });

  test('GET answers queries and refuses mutations with 405', async () => {
    const get = (query: string) => fetch(`${graph.urls.gateway}/graphql?query=${encodeURIComponent(query)}`);
    expect(await (await get('{ order(number: "CA-2016-152156") { id } }')).json()).toEqual({
      data: { order: { id: 'CA-2016-152156' } },
    });
    const refused = await get(`mutation { createProduct(input: ${PRODUCT}) { id } }`);
    expect(refused.status).toBe(405);
    expect(refused.headers.get('allow')).toBe('POST, OPTIONS');
  });

  test.each(['gateway', 'users', 'products', 'orders'] as const)(
    '%s names the methods that it supports',
    async (door) => {
      for (const [path, allow] of [
        ['/graphql', 'GET, POST, HEAD, OPTIONS'],
        ['/health/ready', 'GET, HEAD, OPTIONS'],
      ] as const) {
        const send = (method: string) => fetch(graph.urls[door] + path, { method });
        const [refused, options] = [await send('DELETE'), await send('OPTIONS')];
        expect([refused.status, refused.headers.get('allow')]).toEqual([405, allow]);
        expect([options.status, options.headers.get('allow')]).toEqual([204, allow]);
        expect((await send('HEAD')).status).toBe((await send('GET')).status);
      }
    },
  );

  test('a path that is not there is 404 in JSON', async () => {
    const response = await fetch(`${graph.urls.gateway}/nowhere?secret=1`);
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({
      errors: [{ message: 'Nothing is at /nowhere.', extensions: { code: 'NOT_FOUND' } }],
    });
  });
});

test('the example of docs/errors.md is what the gateway answers', async () => {
  const page = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8');
  const [, body] = /-d '(.*)'\n```/.exec(page) ?? [];
  const [, answer] = /```json\n(.*?)```/s.exec(page) ?? [];
  expect(JSON.parse((await post(body as string)).body)).toEqual(JSON.parse(answer as string));
});
