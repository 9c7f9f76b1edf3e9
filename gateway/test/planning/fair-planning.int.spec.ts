import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { gatewayOver, subgraph } from '../../../test/harness/test-gateway.ts';
import { until } from '../../../test/harness/until.ts';
import type { Answer } from '../graphs/federated-case.ts';
import { planningProcesses } from '../graphs/test-planners.ts';

const HEAVY = 20;

/** The place at which one client's new operation is answered that is sent after `HEAVY` large new ones of another. */
async function placeOfNovel(env: NodeJS.ProcessEnv): Promise<number> {
  const a = await subgraph('type Query { me: Me } type Me { me: Me n: String }');
  const b = await subgraph('type Query { other: String }');
  const limits = { SUBGRAPH_TIMEOUT: '60s', PLANNING_TIMEOUT: '60s', QUERY_PLANNER: 'native' };
  const { url } = await gatewayOver({ a, b }, { ...limits, ...env });
  const order: string[] = [];
  const send = async (client: string, query: string) => {
    const response = await fetch(`${url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-forwarded-for': client },
      body: JSON.stringify({ query }),
    });
    const { errors } = (await response.json()) as Answer;
    order.push(client);
    return errors;
  };
  const heavy = (i: number) =>
    `query Heavy { ${Array.from({ length: 150 }, (_, n) => `x${i}_${n}: me { me { me { n } } }`).join(' ')} }`;
  const planner = planningProcesses('native').at(-1) as number;
  process.kill(planner, 'SIGSTOP');
  const sent = Array.from({ length: HEAVY }, (_, i) => send('203.0.113.1', heavy(i)));
  sent.push(send('203.0.113.2', 'query Novel { me { n } other }'));
  // The documents of both clients are parsed before these, and all operations wait for the planner.
  for (const client of ['203.0.113.1', '203.0.113.2']) {
    expect(await send(client, `query Invalid { ${'_'.repeat(5000)} }`)).toHaveLength(1);
  }
  order.length = 0;
  process.kill(planner, 'SIGCONT');
  expect((await Promise.all(sent)).flatMap((errors) => errors ?? [])).toEqual([]);
  return order.indexOf('203.0.113.2');
}

test('behind a trusted proxy, clients take turns by the addresses that it names', async () => {
  expect(await placeOfNovel({ TRUSTED_PROXIES: 'loopback' })).toBeLessThan(HEAVY / 4);
}, 60_000);

test('addresses that a client claims in headers are ignored', async () => {
  expect(await placeOfNovel({})).toBeGreaterThan(0.8 * HEAVY);
  expect(await placeOfNovel({ TRUSTED_PROXIES: '10.0.0.0/8' })).toBeGreaterThan(0.8 * HEAVY);
}, 60_000);

test('a client with too many new operations receives 429, and when to try again', async () => {
  const a = await subgraph('type Query { n: String }');
  const { url } = await gatewayOver({ a });
  const { hostname, port } = new URL(url);
  // In one packet, so that they come before the first of them is planned.
  const requests = Array.from({ length: 400 }, (_, i) => `GET /graphql?query={a${i}:n} HTTP/1.1\r\nhost: a\r\n\r\n`);
  const socket = connect({ host: hostname, port: Number(port) });
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  socket.write(requests.join(''));
  await until(
    async () => text,
    (all) => all.includes('RATE_LIMITED'),
  );
  socket.destroy();
  expect(text).toMatch(/^access-control-expose-headers: .*retry-after/m);
  expect(text).toMatch(/HTTP\/1.1 429 [^{]*retry-after: 1\r\n[^{]*\{"errors":\[\{[^\]]*"code":"RATE_LIMITED"/);
});

test('a proxy that is no address is refused', async () => {
  await expect(gatewayOver({}, { TRUSTED_PROXIES: '10.0.0.0/33,proxy' })).rejects.toThrow('TRUSTED_PROXIES');
});
