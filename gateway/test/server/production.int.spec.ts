import { type IncomingMessage, request } from 'node:http';
import { describe, expect, test } from 'vitest';
import { ask } from '../../../test/harness/graphql-client.ts';
import { gatewayOver, subgraph } from '../../../test/harness/test-gateway.ts';

const SDL = `
  type Query { price(of: Currency = EUR, when: Day): String! }
  enum Currency { EUR USD }
  input Day { month: Int! }`;
const PRODUCTION = { NODE_ENV: 'production' };
const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8';

const start = async (env: NodeJS.ProcessEnv) => {
  const prices = await subgraph(SDL);
  const { url } = await gatewayOver({ prices }, env);
  return { prices, url };
};

const open = (url: string, accept = BROWSER) => fetch(url, { headers: { accept }, redirect: 'manual' });

const preflight = async (url: string, origin: string) => {
  const headers = { origin, 'access-control-request-method': 'POST' };
  const response = await fetch(`${url}/graphql`, { method: 'OPTIONS', headers });
  return response.headers.get('access-control-allow-origin');
};

describe('the explorer', () => {
  test.each<[string, NodeJS.ProcessEnv]>([
    ['in production', PRODUCTION],
    ['with EXPLORER=off', { EXPLORER: 'off' }],
  ])('is not served %s', async (_when, env) => {
    const { url } = await start(env);
    for (const path of ['/', '/graphiql', '/assets/', '/favicon.ico']) {
      const response = await open(url + path);
      expect([path, response.status]).toEqual([path, 404]);
      expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: 'NOT_FOUND' } }] });
    }
    const response = await open(`${url}/graphql`);
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('\\"query\\"');
    expect(await preflight(url, 'https://studio.apollographql.com')).toBeNull();
  });

  test('is served in production with EXPLORER=on, and Apollo Sandbox may send requests', async () => {
    const { url } = await start({ ...PRODUCTION, EXPLORER: 'on' });
    for (const path of ['/', '/graphiql', '/favicon.ico']) expect((await open(url + path)).status).toBe(200);
    expect(await preflight(url, 'https://studio.apollographql.com')).toBe('https://studio.apollographql.com');
  });

  test('is where a browser gets to that opens /graphql', async () => {
    const { url } = await start({});
    for (const accept of [BROWSER, 'application/json;q=0.5, text/html']) {
      const response = await open(`${url}/graphql`, accept);
      expect([response.status, response.headers.get('location')]).toEqual([302, '/graphiql']);
      expect(response.headers.get('vary')).toBe('Origin, Accept');
      const head = await fetch(`${url}/graphql`, { method: 'HEAD', headers: { accept }, redirect: 'manual' });
      expect([head.status, head.headers.get('location')]).toEqual([302, '/graphiql']);
    }
    for (const accept of ['*/*', 'application/json', 'text/html;q=0.9, application/json', 'text/html;q=0, */*']) {
      expect((await open(`${url}/graphql`, accept)).status).toBe(400);
    }
    expect(await (await open(`${url}/graphql?query={price}`)).json()).toEqual({ data: { price: 'price' } });
  });
});

describe('introspection', () => {
  const INTROSPECTIONS = [
    'query Types { __schema { types { name } } }',
    'query One { __type(name: "Query") { name } }',
    'query Hidden { price ...More } fragment More on Query { alias: __type(name: "Query") { name } }',
    'query Skipped($no: Boolean = false) { price __schema @include(if: $no) { queryType { name } } }',
  ];

  test.each<[string, NodeJS.ProcessEnv]>([
    ['in production', PRODUCTION],
    ['with INTROSPECTION=off', { INTROSPECTION: 'off' }],
  ])('is refused %s, and everything else is answered', async (_when, env) => {
    const { url } = await start(env);
    for (const query of INTROSPECTIONS) {
      const { data, errors } = await ask(url, query);
      expect(data ?? null).toBeNull();
      expect(errors).toMatchObject([{ message: expect.stringContaining('Introspection is disabled') }]);
    }
    expect((await ask(url, 'query Name { price __typename }')).data).toEqual({ price: 'price', __typename: 'Query' });
  });

  test('is answered in production with INTROSPECTION=on', async () => {
    const { url } = await start({ ...PRODUCTION, INTROSPECTION: 'on' });
    for (const query of INTROSPECTIONS) expect((await ask(url, query)).errors).toBeUndefined();
  });
});

describe('suggestions', () => {
  const SUGGESTING: [string, Record<string, unknown>?][] = [
    ['query Field { prise }'],
    ['query Argument { price(off: EUR) }'],
    ['query Value { price(of: EUX) }'],
    ['query InputField { price(when: { mont: 1 }) }'],
    ['query Type($day: Dey) { price(when: $day) }'],
    ['query Fragment { ... on Qery { price } }'],
    ['query Variable($of: Currency) { price(of: $of) }', { of: 'EUX' }],
    ['query VariableField($when: Day) { price(when: $when) }', { when: { month: 1, mont: 1 } }],
    ['query Subgraph { price }'],
  ];
  const messagesWith = async (env: NodeJS.ProcessEnv) => {
    const { prices, url } = await start(env);
    // As a subgraph answers whose schema has changed since it was composed.
    const names = ['secretPrice', `prices${'s'.repeat(2000)}`].map((name) => `"${name}"`).join(' or ');
    const message = `Cannot query field "price" on type "Query". Did you mean ${names}?`;
    prices.answerWith((response) => response.end(JSON.stringify({ errors: [{ message }] })));
    const answers = await Promise.all(SUGGESTING.map(([query, variables]) => ask(url, query, variables)));
    return answers.map(({ errors }) => errors?.map(({ message: each }) => each).join(' '));
  };

  test('are in no message in production; the messages still explain what is wrong', async () => {
    const messages = await messagesWith(PRODUCTION);
    expect(messages.filter((message) => !message || /did you mean|secret/i.test(message))).toEqual([]);
  });

  test.each<[string, NodeJS.ProcessEnv]>([
    ['in production with SUGGESTIONS=on', { ...PRODUCTION, SUGGESTIONS: 'on' }],
    ['elsewhere', {}],
  ])('are in all of these messages %s', async (_when, env) => {
    const messages = await messagesWith(env);
    expect(messages.filter((message) => !message?.includes('Did you mean'))).toEqual([]);
  });
});

test('in production, pages of other sites may send requests only where CORS_ORIGINS names the site', async () => {
  const closed = await start(PRODUCTION);
  expect(await preflight(closed.url, 'http://localhost:3000')).toBeNull();
  const open = await start({ ...PRODUCTION, CORS_ORIGINS: 'https://shop.example' });
  expect(await preflight(open.url, 'https://shop.example')).toBe('https://shop.example');
  expect(await preflight(open.url, 'http://localhost:3000')).toBeNull();
});

test.each(['prod', 'Production', 'PRODUCTION', 'staging', 'Test'])('NODE_ENV=%s counts as production', async (name) => {
  const { url } = await start({ NODE_ENV: name });
  const explained = { 'x-explain': '1' };
  const { errors, extensions } = await ask(
    url,
    'query Wrong { price(off: EUR) __schema { description } }',
    {},
    explained,
  );
  expect(JSON.stringify(errors)).toContain('Introspection is disabled');
  expect(JSON.stringify(errors)).not.toContain('Did you mean');
  expect((await ask(url, 'query Name { price }', {}, explained)).extensions).toEqual(extensions);
  expect((await open(url)).status).toBe(404);
  expect(await preflight(url, 'http://localhost:3000')).toBeNull();
});

test('a WebSocket client receives the reason why it is refused', async () => {
  const { url } = await start({});
  const headers = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'sec-websocket-protocol': 'graphql-transport-ws',
  };
  const response = await new Promise<IncomingMessage>((resolve, reject) =>
    request(`${url}/graphql`, { headers }).once('response', resolve).once('error', reject).end(),
  );
  expect(response.statusCode).toBe(400);
  const body = (await response.toArray()).join('');
  expect(body).toContain('Subscriptions over WebSocket are not supported');
});
