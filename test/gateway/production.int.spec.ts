import { type IncomingMessage, request } from 'node:http';
import { describe, expect, test } from 'vitest';
import { gatewayOver, subgraph } from '../harness/test-gateway.ts';

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
    }
    for (const accept of ['*/*', 'application/json', 'text/html;q=0.9, application/json', 'text/html;q=0, */*']) {
      expect((await open(`${url}/graphql`, accept)).status).toBe(400);
    }
    expect(await (await open(`${url}/graphql?query={price}`)).json()).toEqual({ data: { price: 'price' } });
  });
});

test('in production, pages of other sites may send requests only where CORS_ORIGINS names the site', async () => {
  const closed = await start(PRODUCTION);
  expect(await preflight(closed.url, 'http://localhost:3000')).toBeNull();
  const open = await start({ ...PRODUCTION, CORS_ORIGINS: 'https://shop.example' });
  expect(await preflight(open.url, 'https://shop.example')).toBe('https://shop.example');
  expect(await preflight(open.url, 'http://localhost:3000')).toBeNull();
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
