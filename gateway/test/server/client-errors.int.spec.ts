import type { ServerResponse } from 'node:http';
import { GraphQLError, GraphQLScalarType, Kind, type ValueNode } from 'graphql';
import { describe, expect, test } from 'vitest';
import { ask, type GraphQLAnswer } from '../../../test/harness/graphql-client.ts';
import { gatewayOver, subgraph } from '../../../test/harness/test-gateway.ts';
import { until } from '../../../test/harness/until.ts';

// Errors of subgraphs, as a client gets them: about its own text, variables, aliases and fields.

/** A scalar that only the subgraphs validate: they refuse what is no amount. */
const Money = () => {
  const read = (value: unknown, nodes?: ValueNode) => {
    if (/^\d+$/.test(String(value))) return value;
    throw new GraphQLError(`Money must be digits, not ${JSON.stringify(value)}`, { nodes });
  };
  return new GraphQLScalarType({
    name: 'Money',
    parseValue: (value) => read(value),
    parseLiteral: (node) => read(node.kind === Kind.STRING || node.kind === Kind.INT ? node.value : node.kind, node),
  });
};

const ENV = { SUPERGRAPH_POLL_INTERVAL: '1h', CIRCUIT_BREAKER_FAILURES: '0' };

async function shop(env: NodeJS.ProcessEnv = {}) {
  const catalogue = await subgraph(
    `scalar Money
     input Price { amount: Money tiers: [Tier!] note: String }
     input Tier { from: Int price: Money }
     type Query { products(first: Int = 3): [Product!]! viewer: Viewer price(of: Money): Int broken: Int }
     type Viewer { limit(of: Money): Int name: String }
     type Mutation {
       changePrice(id: ID!, price: Money, set: Price): Product
       rename(id: ID!, name: String): Product
     }
     type Product @key(fields: "id") { id: ID! }`,
    {
      Money: Money(),
      Query: {
        products: (_: unknown, { first }: { first: number }) =>
          Array.from({ length: first }, (_each, i) => ({ __typename: 'Product', id: String(i) })),
        viewer: () => ({ name: 'Ada', limit: 1 }),
        price: () => 1,
        broken: () => {
          throw new Error('The field price_1 of _entities is broken.');
        },
      },
      Mutation: { changePrice: () => ({ __typename: 'Product', id: '1' }), rename: () => ({ id: '1' }) },
    },
  );
  const stock = await subgraph(
    `scalar Money
     type Product @key(fields: "id") {
       id: ID! stock: Int! weight: Int discounted(by: Money): Int part: Part
       secret: Int! @federation__inaccessible
     }
     type Part { price(in: Money): Int }`,
    {
      Money: Money(),
      Product: {
        __resolveReference: (reference: object) => ({ ...reference, stock: 1, weight: 2, discounted: 3, part: {} }),
      },
      Part: { price: () => 4 },
    },
  );
  return { catalogue, stock, ...(await gatewayOver({ catalogue, stock }, { ...ENV, ...env })) };
}

/** What stands in a text where an error is, as far as the length of what is expected there. */
function textAt(query: string, { errors }: GraphQLAnswer, length: number, which = 0): string {
  const { line = 0, column = 0 } = errors?.[0]?.locations?.[which] ?? {};
  return query.split('\n')[line - 1]?.slice(column - 1, column - 1 + length) ?? '';
}

describe('a value that only the subgraph can judge is refused in terms of the client:', () => {
  const REFUSED = 'Money must be digits, not "abc"';
  test.each<[string, string, Record<string, unknown>, string, string, (string | number)[]]>([
    [
      'a literal',
      'mutation Change {\n  changed: changePrice(id: "1", price: "abc") { id }\n}',
      {},
      `Argument "price" got invalid value "abc"; ${REFUSED}`,
      '"abc"',
      ['changed'],
    ],
    [
      'a variable',
      'mutation Change($to: Money) {\n  changePrice(id: "1", price: $to) { id }\n}',
      { to: 'abc' },
      `Variable "$to" got invalid value "abc"; ${REFUSED}`,
      '$to',
      ['changePrice'],
    ],
    [
      'a variable that is called as another is in the plan',
      'query Read($v1: Money, $v0: Money) {\n  good: price(of: $v0)\n  bad: price(of: $v1)\n}',
      { v0: '1', v1: 'abc' },
      `Variable "$v1" got invalid value "abc"; ${REFUSED}`,
      '$v1',
      ['bad'],
    ],
    [
      'a default value',
      'mutation Change($to: Money = "abc") {\n  changePrice(id: "1", price: $to) { id }\n}',
      {},
      REFUSED,
      '"abc"',
      ['changePrice'],
    ],
    [
      'in an input object',
      'mutation Change {\n  changePrice(id: "1", set: { note: "n", tiers: [{ from: 1 }, { price: "abc" }] }) { id }\n}',
      {},
      `Argument "set" got invalid value "abc" at "set.tiers[1].price"; ${REFUSED}`,
      '"abc"',
      ['changePrice'],
    ],
    [
      'in a variable in an input object',
      'mutation Change($tiers: [Tier!]) {\n  changePrice(id: "1", set: { tiers: $tiers }) { id }\n}',
      { tiers: [{ price: 'abc' }] },
      `Variable "$tiers" got invalid value "abc" at "tiers[0].price"; ${REFUSED}`,
      '$tiers',
      ['changePrice'],
    ],
    [
      'a literal beside a variable in an input object',
      'mutation Change($note: String) {\n  changePrice(id: "1", set: { note: $note, tiers: [{ price: "abc" }] }) { id }\n}',
      { note: 'n' },
      REFUSED,
      '"abc"',
      ['changePrice'],
    ],
    [
      'a literal that is no text',
      'query Read {\n  a: price(of: true)\n}',
      {},
      'Money must be digits, not "BooleanValue"',
      'true',
      ['a'],
    ],
    [
      'of one of two aliases of a field',
      'query Read {\n  good: price(of: "1")\n  bad: price(of: "abc")\n}',
      {},
      `Argument "of" got invalid value "abc"; ${REFUSED}`,
      '"abc"',
      ['bad'],
    ],
    [
      'in a field below the root, in a fragment',
      'query Read { viewer { ...Limit } }\nfragment Limit on Viewer { limit(of: "abc") }',
      {},
      `Argument "of" got invalid value "abc"; ${REFUSED}`,
      '"abc"',
      ['viewer'],
    ],
    [
      'of a field of entities',
      'query Read {\n  all: products { cheap: discounted(by: "abc") }\n}',
      {},
      `Argument "by" got invalid value "abc"; ${REFUSED}`,
      '"abc"',
      ['all', 0, 'cheap'],
    ],
    [
      'below a field of entities, beside another fetch of them',
      'query Read {\n  a: products { weight }\n  b: products { part { price(in: "abc") } }\n}',
      {},
      `Argument "in" got invalid value "abc"; ${REFUSED}`,
      '"abc"',
      ['b', 0, 'part'],
    ],
  ])('%s', async (_what, query, variables, message, at, path) => {
    const { url } = await shop();
    // Again from the cache of operations, and with another text of the same operation.
    for (const text of [query, query, query.replace('{\n', '{\n\n    ')]) {
      const answer = await ask(url, text, variables);
      expect(answer.errors?.[0], JSON.stringify(answer)).toMatchObject({ message, path });
      expect(textAt(text, answer, at.length)).toBe(at);
      expect(JSON.stringify(answer.errors)).not.toMatch(/_entities|representations/);
    }
  });

  test('and the other fields of the request report that they failed with it', async () => {
    const { url } = await shop();
    const query =
      'mutation Both { good: changePrice(id: "1", price: "2") { id } bad: changePrice(id: "1", price: "x") { id } }';
    const { data, errors } = await ask(url, query);
    expect(data).toEqual({ good: null, bad: null });
    expect(errors?.map(({ path }) => path)).toEqual([['bad'], ['good']]);
    expect(errors?.[1]?.message).toContain('because another field of the request failed');
  });
});

describe('what is internal to the gateway is in no error:', () => {
  const NAMES = 'query Read { products(first: 1) { id: weight a: discounted(by: "1") b: discounted(by: "2") } }';
  test.each([
    ['the field of entities', { message: 'Cannot query field "_entities" on type "Query".' }],
    ['its variable', { message: 'Variable "$representations" of required type "[_Any!]!" was not provided.' }],
    ['its type', { message: 'Expected _Entity.' }],
    ['an alias of the gateway', { message: 'id_1 is broken', path: ['_entities', 0, 'id_1'] }],
    ['a field that is hidden from clients', { message: 'Cannot return null for non-nullable field Product.secret.' }],
    [
      'such a field that the plan needs',
      {
        message: 'Cannot return null for non-nullable field Product.secret.',
        path: ['_entities', 0, 'secret'],
        extensions: { code: 'INTERNAL_SERVER_ERROR' },
      },
    ],
    ['a place that is not in the list', { message: 'm', path: ['_entities', 0, 'part', 7, 'price'] }],
    ['an alias of the planner', { message: 'a__alias_0 is broken', path: ['_entities', 0, 'a__alias_0'] }],
  ])('%s', async (_what, error) => {
    const { url, stock } = await shop();
    stock.answerWith((response) => response.end(JSON.stringify({ data: { _entities: [{}] }, errors: [error] })));
    const { errors } = await ask(url, NAMES);
    expect(errors?.length).toBeGreaterThan(0);
    expect(JSON.stringify(errors)).not.toMatch(/_entities|_Any|_Entity|representations|_1|__alias|secret/);
    const [first] = errors ?? [];
    expect(first?.path?.slice(0, 2)).toEqual(['products', 0]);
    expect(first?.locations).toHaveLength(1);
  });

  test.each([undefined, ['nowhere', 3]])(
    'a document that the subgraph refuses is no fault of the client',
    async (path) => {
      const { url, stock } = await shop();
      const refused = {
        message: 'Cannot query field "stock" on type "Product".',
        path,
        extensions: { code: 'GRAPHQL_VALIDATION_FAILED' },
      };
      stock.answerWith((response) => response.writeHead(400).end(JSON.stringify({ errors: [refused] })));
      const { errors } = await ask(url, 'query Read { products { weight } }');
      expect(errors).toMatchObject([{ message: refused.message, extensions: { code: 'DOWNSTREAM_SERVICE_ERROR' } }]);
    },
  );

  test('and the extensions that a subgraph adds to an error are passed on, within bounds', async () => {
    const { url, stock } = await shop();
    const small = { code: 'MINE', reason: 'R', details: { a: [1] }, requestId: 'theirs' };
    const answers = [small, { ...small, details: 'x'.repeat(100_000), stacktrace: ['at /src/secret.ts'] }];
    const seen = [];
    for (const extensions of answers) {
      const error = { message: 'm'.repeat(5000), path: ['_entities', 0, 'weight'], extensions };
      stock.answerWith((response) => response.end(JSON.stringify({ data: { _entities: [{}] }, errors: [error] })));
      seen.push((await ask(url, 'query Read { products(first: 1) { weight } }')).errors?.[0]);
    }
    expect(seen[0]?.extensions).toEqual({ ...small, subgraph: 'stock' });
    expect(seen[1]?.extensions).toEqual({ code: 'MINE', reason: 'R', requestId: 'theirs', subgraph: 'stock' });
    expect(seen[1]?.message.length).toBeLessThan(2100);
  });
});

describe('a message that a subgraph means for clients may quote anything:', () => {
  const VALUES = [
    'Product.secret',
    'Product.other',
    '_entities',
    '$v0',
    'at "v0.x"',
    'a__alias_1',
    'x Did you mean y?',
  ];
  test.each([
    ['NOT_FOUND', undefined],
    ['BAD_USER_INPUT', 'name'],
  ])('%s', async (code, field) => {
    const { url, catalogue } = await shop({ SUGGESTIONS: 'off' });
    const messages = VALUES.map((value) => `There is no product with the name "${value}".`);
    const aliases = messages.map((_, i) => `a${i}`);
    catalogue.answerWith((response) => {
      const errors = messages.map((message, i) => ({ message, path: [aliases[i]], extensions: { code, field } }));
      response.end(JSON.stringify({ data: Object.fromEntries(aliases.map((alias) => [alias, null])), errors }));
    });
    const fields = aliases.map(
      (alias, i) => `${alias}: rename(id: "first", name: ${JSON.stringify(VALUES[i])}) { id }`,
    );
    const { errors } = await ask(url, `mutation Rename { ${fields.join(' ')} }`);
    expect(errors?.map(({ message }) => message)).toEqual(messages);
  });

  test("and a resolver's message without a code shows no other argument, and no name that is hidden from clients", async () => {
    const { url, catalogue } = await shop();
    const messages = ['No "$v1".', 'No "Product.secret".', 'No "Product.other".'];
    const aliases = ['a', 'b', 'c'];
    catalogue.answerWith((response) => {
      const errors = messages.map((message, i) => ({ message, path: [aliases[i]] }));
      response.end(JSON.stringify({ data: { a: null, b: null, c: null }, errors }));
    });
    const fields = aliases.map((alias) => `${alias}: price(of: "${alias}")`);
    const { errors } = await ask(url, `query Read { ${fields.join(' ')} }`);
    expect(errors?.map(({ message }) => message)).toEqual(messages);
  });
});

test('an error about an argument that only the plan has is at what the client selected', async () => {
  const items = await subgraph('type Query { items(of: Int): [Item] } type Item @key(fields: "id") { id: ID! }', {
    Query: { items: () => [{ id: '1' }] },
  });
  const prices = await subgraph('type Item @key(fields: "id") { id: ID! price(of: Int): Int }');
  const shipping = await subgraph(
    `type Item @key(fields: "id") {
       id: ID! price(of: Int): Int @federation__external
       shipping: Int @federation__requires(fields: "price(of: 7)")
     }`,
  );
  const { url } = await gatewayOver({ items, prices, shipping }, ENV);
  prices.answerWith((response, { query }) => {
    const locations = [{ line: 1, column: query.indexOf('of:7') + 1 + 'of:'.length }];
    response.end(JSON.stringify({ data: null, errors: [{ message: 'Not 7.', locations }] }));
  });
  const { errors } = await ask(url, '{ items(of: 1) { shipping } }');
  expect(errors?.find(({ message }) => message === 'Not 7.')).toMatchObject({
    path: ['items', 0],
    locations: [{ line: 1, column: 3 }],
  });
});

describe("a subgraph's failure names what is missing because of it:", () => {
  test('one error for each field, with the first path, and the number of all', async () => {
    const { url, stock } = await shop();
    await stock.down();
    const query =
      'query List {\n  all: products(first: 100) { id kilos: weight\n part { price } } one: products(first: 1) { id weight }\n}';
    const answer = await ask(url, query);
    expect(answer.data.all).toHaveLength(100);
    expect(answer.data.all[99]).toEqual({ id: '99', kilos: null, part: null });
    const field = (root: string, name: string, count: number) => ({
      path: [root, 0, name],
      locations: [expect.anything()],
      extensions: {
        code: 'SUBGRAPH_UNAVAILABLE',
        subgraph: 'stock',
        ...(count > 1 && { paths: Array.from({ length: 20 }, (_, i) => [root, i, name]), pathCount: count }),
      },
    });
    expect(answer.errors).toMatchObject([
      field('all', 'kilos', 100),
      field('all', 'part', 100),
      field('one', 'weight', 1),
    ]);
    expect(textAt(query, answer, 13)).toBe('kilos: weight');
    expect(answer.errors?.[2]?.extensions.pathCount).toBeUndefined();
  });

  test('when it takes too long, and when its circuit is open', async () => {
    const { url, stock } = await shop({
      SUBGRAPH_TIMEOUT: '300ms',
      CIRCUIT_BREAKER_FAILURES: '2',
      CIRCUIT_BREAKER_RESET: '1h',
    });
    stock.answerWith(() => undefined);
    const failure = (extensions: object) => {
      const paths = [0, 1].map((i) => ['products', i, 'weight']);
      return [
        { path: paths[0], locations: [{}], extensions: { subgraph: 'stock', paths, pathCount: 2, ...extensions } },
      ];
    };
    const run = () => ask(url, 'query List { products(first: 2) { id weight } }');
    expect((await run()).errors).toMatchObject(failure({ code: 'TIMEOUT' }));
    const { data, errors } = await until(run, (answer) => answer.errors?.[0]?.extensions.code !== 'TIMEOUT');
    expect(data.products).toHaveLength(2);
    expect(errors).toMatchObject(failure({ code: 'SUBGRAPH_UNAVAILABLE', reason: 'CIRCUIT_OPEN' }));
  });

  test('also where null spreads to the whole response', async () => {
    const { url, stock } = await shop();
    await stock.down();
    const { data, errors } = await ask(url, 'query List { products(first: 100) { id stock } }');
    expect(data).toBeNull();
    expect(errors).toMatchObject([
      { path: ['products', 0, 'stock'], extensions: { code: 'SUBGRAPH_UNAVAILABLE', pathCount: 100 } },
    ]);
  });

  test('errors that a subgraph gives for each object because it cannot reach its database are one', async () => {
    const { url, stock } = await shop();
    stock.answerWith((response, { variables }) => {
      const entities = variables.representations as unknown[];
      const errors = entities.map((_, i) => ({
        message: 'The service cannot reach its data at the moment; try again.',
        path: ['_entities', i, 'weight'],
        extensions: { code: 'SUBGRAPH_UNAVAILABLE' },
      }));
      response.end(JSON.stringify({ data: { _entities: entities.map(() => ({ weight: null })) }, errors }));
    });
    const { errors } = await ask(url, 'query List { products(first: 100) { weight } }');
    expect(errors).toMatchObject([{ path: ['products', 0, 'weight'], extensions: { pathCount: 100 } }]);
  });

  test('every root field that is missing has an error, in a mutation the fields of its result as well', async () => {
    const { url, catalogue, stock } = await shop();
    await stock.down();
    const changed = await ask(url, 'mutation Change { changePrice(id: "1", price: "2") { id weight } }');
    expect(changed.data).toEqual({ changePrice: { id: '1', weight: null } });
    expect(changed.errors).toMatchObject([{ path: ['changePrice', 'weight'] }]);
    await catalogue.down();
    const read = await ask(url, 'query Read { who: viewer { name } ... @defer { price(of: "1") } }');
    expect(read.data).toEqual({ who: null, price: null });
    expect(read.errors).toMatchObject([
      { path: ['who'], locations: [{ line: 1, column: 14 }], extensions: { code: 'SUBGRAPH_UNAVAILABLE' } },
      { path: ['price'], locations: [{}], extensions: { code: 'SUBGRAPH_UNAVAILABLE' } },
    ]);
  });

  test('for each of several requests that share the fetch, in its own names', async () => {
    const { url, catalogue, stock } = await shop();
    let roots = 0;
    catalogue.answerWith((response, { query }) => {
      const name = /(\w):products/.exec(query)?.[1] ?? 'x';
      roots += 1;
      response.end(JSON.stringify({ data: { [name]: ['1', '2'].map((id) => ({ __typename: 'Product', id })) } }));
    });
    const held: ServerResponse[] = [];
    stock.answerWith((response) => void held.push(response));
    const asking = ['a', 'b', 'c'].map((name) =>
      ask(url, `query Read { ${name}: products(first: 2) { kilos: weight } }`, {}, { 'x-explain': '1' }),
    );
    await until(
      async () => [roots, held.length],
      ([asked, waiting]) => asked === 3 && waiting === 1,
    );
    await ask(url, 'query Other { viewer { name } }');
    held[0]?.end('Not GraphQL');
    const answers = await Promise.all(asking);
    expect(held).toHaveLength(1);
    for (const [i, { errors }] of answers.entries()) {
      expect(errors).toMatchObject([{ path: ['abc'[i], 0, 'kilos'], locations: [{}], extensions: { pathCount: 2 } }]);
    }
  });
});

test('an error that a client should report carries the id of its request, which the gateway logs with the cause', async () => {
  const { url, stock, logs } = await shop({ LOG_LEVEL: 'debug' });
  stock.answerWith((response) => response.end('{"data":{"_entities":[{"weight":"heavy"}]}}'));
  const headers = { 'x-request-id': 'request-17' };
  const { errors } = await ask(url, 'query Read { products(first: 1) { weight } }', {}, headers);
  // The gateway's id, where the subgraph gives none that is a text.
  const failed = { message: 'm', path: ['_entities', 0, 'weight'] };
  const extensions = { code: 'INTERNAL_SERVER_ERROR', requestId: { a: 1 } };
  stock.answerWith((response) =>
    response.end(JSON.stringify({ data: { _entities: [{ weight: null }] }, errors: [{ ...failed, extensions }] })),
  );
  const other = await ask(url, 'query Read { products(first: 1) { weight } }', {}, { 'x-request-id': 'request-18' });
  expect(other.errors).toMatchObject([{ extensions: { requestId: 'request-18' } }]);
  expect(errors).toMatchObject([
    {
      message: 'Product.weight: expected a value of type Int; the subgraph returned a string that is none.',
      path: ['products', 0, 'weight'],
      locations: [{ line: 1, column: 35 }],
      extensions: { code: 'INVALID_SUBGRAPH_RESPONSE', requestId: 'request-17' },
    },
  ]);
  const cause = errors?.[0]?.message;
  const line = { level: 20, reqId: 'request-17', code: 'INVALID_SUBGRAPH_RESPONSE', operation: 'Read', cause };
  expect(logs.filter(({ reqId, code }) => reqId === 'request-17' && code)).toMatchObject([line]);
});

test('the log has the cause of each failed request, as far as the gateway itself found it out', async () => {
  const { url, gateway, catalogue, logs } = await shop({ LOG_LEVEL: 'debug' });
  const personal = 'Subgraph "catalogue" knows ada@example.com';
  const error = JSON.stringify({ message: personal, extensions: { code: 'TIMEOUT', big: 'x'.repeat(5000) } });
  const failures: [text: string | null, code: string, cause: string | undefined][] = [
    [null, 'TIMEOUT', 'Subgraph "catalogue" did not answer within 400 ms.'],
    [`{"data":null,"errors":[${error}]}`, 'TIMEOUT', undefined],
    ['{"data":null}', 'INVALID_SUBGRAPH_RESPONSE', 'The subgraph "catalogue" returned no data.'],
  ];
  for (const [i, [text, code, cause]] of failures.entries()) {
    catalogue.answerWith((response) => text !== null && response.end(text));
    const { errors } = await ask(url, 'query Read { viewer { name } }', {}, { 'x-request-id': `request-${i}` });
    expect(errors).toMatchObject([{ extensions: { code } }]);
    const [line] = logs.filter(({ msg, reqId }) => msg === 'a request failed' && reqId === `request-${i}`);
    expect([line?.subgraph, line?.code, line?.cause]).toEqual(['catalogue', code, cause]);
  }
  await gateway.close();
  const samples = logs.filter(({ msg }) => msg === 'requests failed because of a subgraph');
  const [, code, cause] = failures[2] ?? [];
  expect(samples).toMatchObject([{ level: 40, failedRequests: 3, reqId: 'request-2', code, cause }]);
  expect(JSON.stringify(logs)).not.toContain('ada@example.com');
});
