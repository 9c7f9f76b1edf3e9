import { request as httpRequest } from 'node:http';
import type { ErrorCode } from '@tributary/server';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../../../test/harness/graph.ts';
import { ask, codesOf, type GraphQLAnswer } from '../../../test/harness/graphql-client.ts';
import { until } from '../../../test/harness/until.ts';

let graph: TestGraph;
beforeAll(async () => {
  graph = await startGraph();
});
afterAll(() => graph?.stop());

const DOORS = ['gateway', 'users', 'products', 'orders'] as const;
type Door = (typeof DOORS)[number];

/** Sends a body as it is: a test can say what `JSON.stringify` never would. */
async function post(door: Door, body: string, headers: Record<string, string> = {}): Promise<GraphQLAnswer> {
  const response = await fetch(`${graph.urls[door]}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  });
  return { ...((await response.json()) as GraphQLAnswer), status: response.status };
}

const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;

let made = 0;
function createProduct(door: 'gateway' | 'products', attributes: string, name = 'Made for input') {
  made += 1;
  return post(
    door,
    `{"operationName": "Create",
      "query": "mutation Create($input: CreateProductInput!) { createProduct(input: $input) { id name attributes } }",
      "variables": {"input": {"sku": "I-${made}", "name": ${JSON.stringify(name)}, "category": "Input", "subCategory": "Made",
        "price": "1", "attributes": ${attributes}}}}`,
  );
}

function expectRefused(answer: GraphQLAnswer, words: string | RegExp = '', code: ErrorCode = 'BAD_USER_INPUT'): void {
  expect(codesOf(answer)).toEqual([code]);
  expect(answer.errors?.[0]?.message).toMatch(words);
  expect(answer.data ?? null).toBeNull();
}

describe('JSON', () => {
  test.each(DOORS)('variables that are nested 100,000 deep are refused (%s)', async (door) => {
    const answer = await post(
      door,
      `{"query": "query Deep($a: Int) { __typename }", "variables": {"a": ${nested(100_000)}}}`,
    );
    expect(answer.status).toBe(400);
    expectRefused(answer, /variable "\$a" .*nested/);
  });

  test.each(DOORS)('brackets of a query that are nested 9,000 deep are refused (%s)', async (door) => {
    const literal = `query Deep { __typename @include(if: ${nested(9000)}) }`;
    expectRefused(await post(door, JSON.stringify({ query: literal })), /nested/, 'COST_LIMIT');
    const selection = `query Deep { ${'a {'.repeat(9000)}b${'}'.repeat(9001)}`;
    expectRefused(await post(door, JSON.stringify({ query: selection })), /nested/, 'COST_LIMIT');
  });

  test('lists of a literal that are nested 11 deep are refused: planning them takes exponential time', async () => {
    const query = (depth: number) =>
      `mutation Update { updateProduct(id: "FUR-BO-10001798", input: { attributes: { a: ${nested(depth)} } }) { id } }`;
    expect((await post('gateway', JSON.stringify({ query: query(10) }))).errors).toBeUndefined();
    for (const depth of [11, 26, 40]) {
      const answer = await post('gateway', JSON.stringify({ query: query(depth) }));
      expectRefused(answer, /lists nested more than 10/, 'COST_LIMIT');
      expect(answer.errors?.[0]?.extensions).toMatchObject({ reason: 'NESTING' });
    }
  });

  test('brackets in a string or a comment of a query do not count', async () => {
    const brackets = '['.repeat(600);
    const query = `query Find { # ${brackets}
      a: users(search: "${brackets.slice(0, 150)}\\"${brackets.slice(0, 40)}") { pageInfo { hasNextPage } }
      b: product(sku: """${brackets}\\"""${brackets}""") { id }
    }`;
    const { data, errors } = await post('gateway', JSON.stringify({ query }));
    expect(errors).toBeUndefined();
    expect(data.b).toBeNull();
  });

  test.each(['gateway', 'products'] as const)(
    'attributes may be nested 32 deep, and are read where they are listed; 33 are refused (%s)',
    async (door) => {
      const { data, errors } = await createProduct(door, `{"a": ${nested(31)}}`);
      expect(errors).toBeUndefined();
      expectRefused(await createProduct(door, `{"a": ${nested(32)}}`), /32 levels/);
      expectRefused(await createProduct(door, `{"a": ${nested(4108)}}`), /nested/);
      const objects = (depth: number) => `${'{a:'.repeat(depth)}1${'}'.repeat(depth)}`;
      const literal = (depth: number) =>
        post(
          door,
          JSON.stringify({
            query: `mutation Update($id: ID!) { updateProduct(id: $id, input: { attributes: ${objects(depth)} }) { id } }`,
            variables: { id: data.createProduct.id },
          }),
        );
      expect((await literal(32)).errors).toBeUndefined();
      expectRefused(await literal(33), /32 levels/, 'GRAPHQL_VALIDATION_FAILED');
      const list = await ask(
        graph.urls[door],
        'query Newest($sort: ProductSort) { products(first: 5, sort: $sort) { nodes { id attributes } } }',
        { sort: 'NEWEST' },
      );
      const read = list.data.products.nodes.find(({ id }: { id: string }) => id === data.createProduct.id);
      // As text: matchers compare deep arrays in exponential time.
      expect(JSON.stringify(read?.attributes)).toBe(objects(32).replaceAll('a', '"a"'));
    },
  );

  test.each(['gateway', 'products'] as const)('a number beyond a double is refused (%s)', async (door) => {
    expectRefused(await createProduct(door, '{"e": 1e400}'), /number/);
    expectRefused(await createProduct(door, '{"e": [{"f": -1e400}]}'), /number/);
  });

  test('a literal number beyond a double is refused by products', async () => {
    const query =
      'mutation Update { updateProduct(id: "FUR-BO-10001798", input: { attributes: { e: 1e400 } }) { id } }';
    expectRefused(await post('products', JSON.stringify({ query })), /number/, 'GRAPHQL_VALIDATION_FAILED');
  });

  test.each(['gateway', 'products'] as const)(
    'texts that only look like escapes are stored unchanged (%s)',
    async (door) => {
      const attributes = { path: 'C:\\udata', text: '\\u0000', 'key\\ud800': '\ud83d\ude00' };
      const { data, errors } = await createProduct(door, JSON.stringify(attributes));
      expect(errors).toBeUndefined();
      expect(data.createProduct.attributes).toEqual(attributes);
    },
  );

  test.each([
    ['NUL in a value', '{"a": ["\\u0000"]}'],
    ['NUL in a key', '{"\\u0000": 1}'],
  ])('%s of attributes is refused', async (_what, attributes) => {
    for (const door of ['gateway', 'products'] as const) expectRefused(await createProduct(door, attributes), /NUL/);
  });
});

describe('an unpaired surrogate is refused', () => {
  const variable = (value: string) =>
    `{"query": "query Find($search: String) { users(search: $search) { totalCount } }", "variables": {"search": ${value}}}`;

  test.each(DOORS)('in a variable, which the error names (%s)', async (door) => {
    expectRefused(await post(door, variable('"a\\ud800b"')), /variable "\$search" contains an unpaired surrogate/);
    const nestedText = '{"query": "query Q { __typename }", "variables": {"input": {"tags": ["ok", "\\udfff"]}}}';
    const answer = await post(door, nestedText);
    expectRefused(answer, /variable "\$input" at "tags.1"/);
    expect(answer.errors?.[0]?.extensions).toMatchObject({ field: 'input.tags.1', reason: 'CHARACTER' });
    expectRefused(await post(door, '{"query": "query Q { __typename }", "variables": {"a": {"\\ud800": 1}}}'));
  });

  test.each(DOORS)('in the query and in the operation name (%s)', async (door) => {
    expectRefused(await post(door, '{"query": "query Q { __typename } # \\ud800"}'), /"query"/, 'BAD_REQUEST');
    expectRefused(
      await post(door, '{"query": "query Q { __typename }", "operationName": "Q\\udc00"}'),
      /operationName/,
      'BAD_REQUEST',
    );
  });

  test('so two keys of deposits that differ in one cannot count as the same', async () => {
    const deposit = (key: string) =>
      post(
        'gateway',
        `{"query": "mutation Deposit($key: ID!) { deposit(userId: \\"CG-12520\\", amount: \\"1\\", idempotencyKey: $key) { balance { amount } } }",
          "variables": {"key": ${key}}}`,
      );
    expectRefused(await deposit('"\\ud800"'), /\$key/);
    expectRefused(await deposit('"\\ud801"'), /\$key/);
    const rows = await graph.databases.query('users', "select from account_entries where reason = 'deposit'");
    expect(rows).toHaveLength(0);
  });

  test('a pair of them is a character', async () => {
    expect((await post('gateway', variable('"\\ud83d\\ude00"'))).errors).toBeUndefined();
  });
});

describe('DateTime', () => {
  test.each([
    '2016-02-30T00:00:00Z',
    '2016-11-08T24:00:00Z',
    '2016-11-08T23:60:00Z',
    '2016-11-08T23:59:60Z',
    '2016-11-08T00:00:00+24:00',
    '0000-01-01T00:00:00Z',
    '0001-01-01T00:00:00+01:00',
    '9999-12-31T23:59:59-01:00',
  ])('%s is refused', async (after) => {
    for (const door of ['gateway', 'orders'] as const) {
      const answer = await ask(
        graph.urls[door],
        'query Placed($filter: OrderFilter) { orders(first: 1, filter: $filter) { totalCount } }',
        { filter: { placedAfter: after } },
      );
      expect(new Set(codesOf(answer)), door).toEqual(new Set(['BAD_USER_INPUT']));
    }
  });

  test.each(['0001-01-01T00:00:00Z', '9999-12-31T23:59:59.999Z', '2016-02-29T23:59:59.999999999+14:00'])(
    '%s is accepted',
    async (after) => {
      const { errors } = await graph.ask(
        'query Placed($filter: OrderFilter) { orders(first: 1, filter: $filter) { totalCount } }',
        { filter: { placedAfter: after } },
      );
      expect(errors).toBeUndefined();
    },
  );
});

test.each(['1e999999', '1e5', '9'.repeat(17), `0.${'1'.repeat(9)}`, '1'.repeat(100_000)])(
  'a Decimal with too many digits or an exponent is refused, and not repeated at length (%#)',
  async (amount) => {
    for (const door of ['gateway', 'products'] as const) {
      const answer = await ask(
        graph.urls[door],
        'query Dear($filter: ProductFilter) { products(filter: $filter) { totalCount } }',
        { filter: { minPrice: amount } },
      );
      expect(new Set(codesOf(answer))).toEqual(new Set(['BAD_USER_INPUT']));
    }
  },
);

describe('a wrong literal of a scalar', () => {
  /** At the gateway and at the subgraph: one error, at the literal, which is in the second line. */
  async function expectAt(literal: string, query: string, subgraph: Door, expected: object): Promise<void> {
    const column = (query.split('\n')[1] ?? '').indexOf(literal) + 1;
    for (const door of ['gateway', subgraph] as const) {
      const { errors } = await ask(graph.urls[door], query);
      expect(errors, door).toMatchObject([{ ...expected, locations: [{ line: 2, column }] }]);
    }
  }

  test.each([
    ['products', 'minPrice', 'Decimal', '"abc"', 'got "abc"'],
    ['products', 'minPrice', 'Decimal', '5.5', 'got 5.5'],
    ['products', 'minPrice', 'Decimal', '[1]', 'got a list'],
    ['products', 'minPrice', 'Decimal', `0.${'1'.repeat(1000)}`, 'got a literal of 1002 characters'],
    ['orders', 'placedAfter', 'DateTime', '"today"', 'got "today"'],
    ['orders', 'placedAfter', 'DateTime', 'TODAY', 'got TODAY'],
  ] as const)('is reported with its place and itself (%s, %s, %#)', async (list, field, scalar, literal, given) => {
    const expected = { message: expect.stringContaining(given) };
    const filter = (value: string) => `${list}(filter: { ${field}: ${value} }) { totalCount } }`;
    await expectAt(literal, `query Some {\n  ${filter(literal)}`, list, expected);
    await expectAt(literal, `query Some(\n  $value: ${scalar} = ${literal}) { ${filter('$value')}`, list, expected);
  });

  test('of JSON is reported with its place', async () => {
    const input = '{ attributes: { a: "\\u0000" } }';
    const query = `mutation Update {\n  updateProduct(id: "FUR-BO-10001798", input: ${input}) { id } }`;
    await expectAt('{ a:', query, 'products', { message: expect.stringContaining('NUL') });
  });
});

describe('an id that is too long to exist', () => {
  const LONG = 'x'.repeat(100_000);

  test('is null in a query, and does not affect the fields beside it', async () => {
    for (const headers of [{}, { 'x-max-staleness': '0' }] as Record<string, string>[]) {
      const { data, errors } = await graph.ask(
        `query Find($long: ID!, $sku: String, $id: ID!) {
          long: user(id: $long) { name } user(id: $id) { name } product(id: $long) { name } bySku: product(sku: $sku) { name }
        }`,
        { long: LONG, sku: LONG, id: 'CG-12520' },
        headers,
      );
      expect(errors).toBeUndefined();
      expect(data).toEqual({ long: null, user: { name: 'Claire Gute' }, product: null, bySku: null });
    }
  });

  test.each([
    ['updateUser(id: $id, input: { name: "N" }) { id }', 'id'],
    ['deleteUser(id: $id) { id }', 'id'],
    ['deposit(userId: $id, amount: "1", idempotencyKey: "k") { balance { amount } }', 'userId'],
    ['updateProduct(id: $id, input: { name: "N" }) { id }', 'id'],
    ['changePrice(id: $id, price: "1") { id }', 'id'],
    ['discontinueProduct(id: $id) { id }', 'id'],
    ['restock(id: $id, quantity: 1, idempotencyKey: "k") { id }', 'id'],
    ['restock(id: "FUR-BO-10001798", quantity: 1, idempotencyKey: $id) { id }', 'idempotencyKey'],
  ])('is refused by the command %s', async (command, field) => {
    const answer = await graph.ask(`mutation Long($id: ID!) { ${command} }`, { id: LONG });
    expectRefused(answer, field === 'idempotencyKey' ? /at most 200 characters/ : /at most 128 bytes in UTF-8/);
    expect(answer.errors?.[0]?.extensions).toMatchObject({ field, reason: 'TOO_LONG' });
  });

  test('is refused by an order, however few characters it has', async () => {
    const place = (customerId: string, productId: string) =>
      graph.ask(
        `mutation Place($input: PlaceOrderInput!) { placeOrder(input: $input, idempotencyKey: "bytes") { id } }`,
        { input: { customerId, items: [{ productId, quantity: 1 }] } },
      );
    const long = '長'.repeat(50);
    const wrongs: [Awaited<ReturnType<typeof place>>, string][] = [
      [await place(long, 'FUR-BO-10001798'), 'customerId'],
      [await place('CG-12520', long), 'items[0].productId'],
    ];
    for (const [answer, field] of wrongs) {
      expectRefused(answer, /at most 128 bytes in UTF-8, got 150/);
      expect(answer.errors?.[0]?.extensions).toMatchObject({ field, reason: 'TOO_LONG' });
    }
  });
});

test('an id that holds NUL is an error of its own, and not of the ids beside it', async () => {
  const answer = await ask(
    graph.urls.users,
    'query Find($bad: ID!, $id: ID!) { bad: user(id: $bad) { name } user(id: $id) { name } }',
    { bad: 'a\0', id: 'CG-12520' },
  );
  expect(answer.data).toEqual({ bad: null, user: { name: 'Claire Gute' } });
  expect(answer.errors).toMatchObject([{ path: ['bad'], extensions: { code: 'BAD_USER_INPUT' } }]);
});

describe('trace headers', () => {
  const VALID = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

  /** @returns what the event of a command holds that was sent with these headers */
  async function traceOf(door: 'gateway' | 'products', headers: Record<string, string>) {
    made += 1;
    const { data, errors } = await ask(
      graph.urls[door],
      'mutation Create($input: CreateProductInput!) { createProduct(input: $input) { id } }',
      { input: { sku: `H-${made}`, name: 'Traced', category: 'Input', subCategory: 'Made', price: '1' } },
      headers,
    );
    expect(errors).toBeUndefined();
    const [event] = await graph.databases.query(
      'products',
      "select traceparent, correlation_id from outbox where aggregate_type = 'Product' and aggregate_id = $1",
      [data.createProduct.id],
    );
    return event;
  }

  test.each(['gateway', 'products'] as const)('a valid traceparent is stored with the event (%s)', async (door) => {
    expect(await traceOf(door, { traceparent: VALID })).toMatchObject({ traceparent: VALID });
  });

  test.each([
    ['long', 'a'.repeat(14_000)],
    ['valid but for its end', `${VALID}${'0'.repeat(5000)}`],
    ['of another version that is none', VALID.replace('00-', 'ff-')],
    ['in capitals', VALID.toUpperCase()],
    ['without a trace', '00-00000000000000000000000000000000-b7ad6b7169203331-01'],
    ['empty', ''],
  ])('a traceparent that is %s is ignored', async (_what, traceparent) => {
    for (const door of ['gateway', 'products'] as const) {
      expect(await traceOf(door, { traceparent, tracestate: 'a=1' })).toMatchObject({ traceparent: null });
    }
  });

  test('a request id that is too long or odd is replaced', async () => {
    for (const id of ['x'.repeat(129), 'a b', '']) {
      const event = await traceOf('gateway', { 'x-request-id': id });
      expect(event?.correlation_id).toMatch(/^[0-9a-f-]{36}$/);
    }
    expect(await traceOf('gateway', { 'x-request-id': 'mine-1' })).toMatchObject({ correlation_id: 'mine-1' });
  });
});

describe('HTTP', () => {
  const url = (door: Door) => `${graph.urls[door]}/graphql?query=${encodeURIComponent('query Q { __typename }')}`;

  test.each(DOORS)('HEAD answers as GET does, without the body (%s)', async (door) => {
    const [head, get] = await Promise.all([fetch(url(door), { method: 'HEAD' }), fetch(url(door))]);
    expect(head.status).toBe(200);
    expect(head.headers.get('etag')).toBe(get.headers.get('etag'));
    expect(await head.text()).toBe('');
    const mutation = `${graph.urls[door]}/graphql?query=${encodeURIComponent('mutation M { __typename }')}`;
    expect((await fetch(mutation, { method: 'HEAD' })).status).toBe(405);
  });

  test('a cacheable response varies with the accepted type, whose quality counts', async () => {
    const get = (accept: string) => fetch(url('gateway'), { headers: { accept } });
    const json = await get('application/graphql-response+json;q=0.1, application/json;q=0.9');
    expect(json.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(json.headers.get('vary')?.toLowerCase()).toContain('accept');
    const none = await get('application/json;q=0, application/graphql-response+json');
    expect(none.headers.get('content-type')).toBe('application/graphql-response+json; charset=utf-8');
    expect((await get('application/json;q=0')).status).toBe(406);
  });
});

describe('_entities', () => {
  const entities = (door: Door, representations: unknown) =>
    ask(
      graph.urls[door],
      'query Entities($representations: [_Any!]!) { _entities(representations: $representations) { __typename } }',
      { representations },
    );

  test.each([
    ['users', 'User'],
    ['products', 'Product'],
  ] as const)('what has no id of %s is null or refused, beside what has one', async (door, type) => {
    const existing = { User: 'CG-12520', Product: 'FUR-BO-10001798' }[type];
    const answer = await entities(door, [
      { __typename: type, id: existing },
      { __typename: type, id: null },
      { __typename: type },
      { __typename: type, id: { a: 1 } },
      { __typename: type, id: 42 },
      { __typename: type, id: 'x'.repeat(5000) },
      { __typename: 'Nothing', id: existing },
      { __typename: 'Money', amount: '1' },
      { id: existing },
      'a text',
      [],
      { __typename: type, id: existing },
    ]);
    // An id that nothing has reads as a placeholder.
    const entity = { __typename: type };
    const nothing = [null, null, null];
    expect(answer.data?._entities).toEqual([entity, ...nothing, entity, entity, null, null, ...nothing, entity]);
    expect(answer.errors?.map(({ path, extensions }) => [path?.[1], extensions.code])).toEqual(
      [6, 7, 8, 9, 10].map((index) => [index, 'BAD_USER_INPUT']),
    );
  });
});

describe('a search', () => {
  test.each([
    ['users', 'query Find($text: String) { users(search: $text) { totalCount } }', 'search'],
    ['products', 'query Find($text: String) { products(filter: { text: $text }) { totalCount } }', 'filter.text'],
  ] as const)('of %s that is too long or has too many words is refused', async (list, query, field) => {
    for (const door of ['gateway', list] as const) {
      for (const [text, reason] of [
        ['word '.repeat(20_000), 'TOO_LONG'],
        [`"${'a '.repeat(10_000)}"`, 'TOO_LONG'],
        ['a '.repeat(21), 'TOO_MANY_WORDS'],
        [Array.from({ length: 11 }, () => 'aa').join(' or '), 'TOO_MANY_WORDS'],
      ]) {
        const answer = await ask(graph.urls[door], query, { text });
        expectRefused(answer);
        expect(answer.errors?.[0]?.extensions).toMatchObject({ field, reason });
      }
      expect((await ask(graph.urls[door], query, { text: 'a '.repeat(20) })).errors).toBeUndefined();
    }
  });

  test('counts vowel signs and other marks as parts of a word', async () => {
    const query = `query Find($text: String) {
      users(search: $text) { totalCount } products(filter: { text: $text }) { totalCount }
    }`;
    const words = ['\u0939\u093f\u0928\u094d\u0926\u0940', '\u0926\u0947\u0935\u0940', 'a\u0301\u0323'];
    const text = (count: number) => Array.from({ length: count }, (_, i) => words[i % words.length]).join(' ');
    expect((await graph.ask(query, { text: text(20) })).errors).toBeUndefined();
    expect(codesOf(await graph.ask(query, { text: text(21) }))).toEqual(['BAD_USER_INPUT', 'BAD_USER_INPUT']);
  });

  test('without a word to search for does not filter', async () => {
    const count = async (text: string | null) => {
      const { data } = await graph.ask(
        'query Find($text: String) { users(search: $text) { totalCount } products(filter: { text: $text }) { totalCount } }',
        { text },
      );
      return data;
    };
    const all = await count(null);
    for (const text of ['', '  ', '!!!', '-', '" "', '\u200b'])
      expect(await count(text), JSON.stringify(text)).toEqual(all);
    expect((await count('the')).products).toEqual(all.products);
  });

  test.each(['category', 'subCategory'])('the filter %s has a maximum length', async (name) => {
    const answer = await graph.ask('query Find($filter: ProductFilter) { products(filter: $filter) { totalCount } }', {
      filter: { [name]: 'c'.repeat(100_000) },
    });
    expectRefused(answer, /at most 200/);
  });
});

test('requests that are refused leave the connection usable', async () => {
  const statuses = await new Promise<number[]>((resolve, reject) => {
    const seen: number[] = [];
    const send = (body: string) => {
      const { port, hostname } = new URL(graph.urls.gateway);
      const request = httpRequest(
        { port, hostname, path: '/graphql', method: 'POST', headers: { 'content-type': 'application/json' } },
        (response) => {
          seen.push(response.statusCode ?? 0);
          response.resume();
          response.on('end', () => (seen.length === 2 ? resolve(seen) : send('{"query": "query Q { __typename }"}')));
        },
      );
      request.on('error', reject);
      request.end(body);
    };
    send(`{"query": "query Q { __typename }", "variables": {"a": ${nested(200_000)}}}`);
  });
  expect(statuses).toEqual([400, 200]);
});

test('orders take every event that commands at the limits make', async () => {
  const { data } = await createProduct('gateway', `{"a": ${nested(31)}}`, 'Deepest');
  await until(
    () => graph.databases.query('orders', 'select from products_copy where id = $1', [data.createProduct.id]),
    (rows) => rows.length === 1,
  );
  expect(await graph.databases.query('orders', 'select from dead_letters')).toEqual([]);
});
