import { expect, test } from 'vitest';
import { ask } from '../../../test/harness/graphql-client.ts';
import { gateway, over, subgraph } from '../../../test/harness/test-gateway.ts';
import type { GatewayPlugin } from '../../src/index.js';

/** More than a subgraph's connections. */
const REQUESTS = 100;

type Fetched = Parameters<NonNullable<GatewayPlugin['onSubgraphFetch']>>[0];

/** A gateway over one subgraph, with a plug-in that changes the requests to it as long as `isOn`. */
async function start(change: (request: Fetched) => object) {
  const a = await subgraph('type Query { text: String } type Mutation { change: String }');
  const changes = { isOn: false };
  const plugin: GatewayPlugin = {
    name: 'tenant',
    onSubgraphFetch: (request, next) => next(changes.isOn ? (change(request) as Fetched) : request),
  };
  const env = { ...over({ a }), CIRCUIT_BREAKER_FAILURES: '3', SUPERGRAPH_POLL_INTERVAL: '1h', LOG_LEVEL: 'info' };
  const started = await gateway(env, { plugins: [plugin] });
  await started.gateway.ready;
  return { ...started, changes };
}

const withHeaders = (headers: object) => (request: Fetched) => ({
  ...request,
  headers: { ...request.headers, ...headers },
});

test.each([
  ['the value of the header "x-tenant" has', withHeaders({ 'x-tenant': 'Łódź' })],
  ['the value of the header "x-tenant" has', withHeaders({ 'x-tenant': 'a\r\nx-role: admin' })],
  ['the value of the header "x-tenant" is', withHeaders({ 'x-tenant': {} })],
  ['"x tenant" is not', withHeaders({ 'x tenant': 'a' })],
  ['"" is not', withHeaders({ '': 'a' })],
  ['the header "Connection" cannot', withHeaders({ Connection: 'a b' })],
  ['the header "expect" cannot', withHeaders({ expect: '100-continue' })],
  ['the header "upgrade" cannot', withHeaders({ upgrade: 'h2c' })],
  ['the header "keep-alive" cannot', withHeaders({ 'keep-alive': 'timeout=5' })],
  ['the header "transfer-encoding" cannot', withHeaders({ 'transfer-encoding': 'chunked' })],
  ['the header "content-length" cannot', withHeaders({ 'content-length': '1' })],
  ['the header "host" cannot', withHeaders({ host: 'other' })],
  ['expected next(request)', (request: Fetched) => ({ ...request, body: { query: '{ text }' } })],
])(
  'requests that a plug-in makes invalid leave the connections to the subgraph as they are: %s %#',
  async (said, change) => {
    const { url, logs, changes, readiness } = await start(change);
    changes.isOn = true;
    // Mutations are not deduplicated.
    const answers = await Promise.all(Array.from({ length: REQUESTS }, () => ask(url, 'mutation { change }')));
    for (const { data, errors } of answers) {
      expect(data).toEqual({ change: null });
      expect(errors).toMatchObject([
        { path: ['change'], extensions: { code: 'INTERNAL_SERVER_ERROR', subgraph: 'a' } },
      ]);
      expect(errors?.[0]?.message).toMatch(/^Something went wrong on our side; it has been logged as request \S+\.$/);
    }
    expect((await readiness()).body).not.toHaveProperty('degraded');
    changes.isOn = false;
    expect(await ask(url, '{ text }')).toMatchObject({ data: { text: 'text' } });
    const lines = logs.filter(({ level }) => level >= 50);
    expect(lines).toHaveLength(REQUESTS);
    expect(lines[0]).toMatchObject({ subgraph: 'a', err: { message: expect.stringContaining(said) } });
    expect(JSON.stringify(lines)).not.toContain('Łódź');
  },
);

test('headers that a plug-in leaves undefined, or gives as numbers, are sent as undici sends them', async () => {
  const { url, changes } = await start(withHeaders({ 'x-tenant': undefined, 'x-weight': 5, 'x-city': 'Orléans' }));
  changes.isOn = true;
  expect(await ask(url, '{ text }')).toMatchObject({ data: { text: 'text' } });
});
