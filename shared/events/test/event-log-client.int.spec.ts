import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eventLogClient } from '@tributary/events';
import { afterEach, expect, test } from 'vitest';
import { ManualTime } from '../../../test/harness/manual-time.ts';

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

/** An owner that serves an empty event log under the given paths. */
async function startOwner(served: readonly string[]) {
  const requests: string[] = [];
  const server = createServer(({ method, url = '' }, response) => {
    requests.push(`${method} ${url}`);
    if (!served.some((path) => url.startsWith(path))) return response.writeHead(404).end();
    if (method === 'PUT') return response.writeHead(204).end();
    return response.writeHead(200).end(JSON.stringify({ head: 7, more: false, events: [] }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUps.push(() => new Promise((resolve) => server.close(resolve)));
  const { port } = server.address() as AddressInfo;
  return { client: eventLogClient(`http://127.0.0.1:${port}`, undefined), requests };
}

test('reads the event log under /event-log', async () => {
  const { client, requests } = await startOwner(['/event-log', '/ledger']);
  expect(await client.read(3, 10)).toEqual({ head: 7, more: false, events: [] });
  await client.reportPosition('orders', 3);
  expect(requests).toEqual(['GET /event-log?after=3&limit=10', 'PUT /event-log/consumers/orders']);
});

test('reads the event log of an owner of the release before under /ledger', async () => {
  const { client, requests } = await startOwner(['/ledger']);
  expect(await client.read(3, 10)).toEqual({ head: 7, more: false, events: [] });
  await client.reportPosition('orders', 3);
  expect(requests).toEqual([
    'GET /event-log?after=3&limit=10',
    'GET /ledger?after=3&limit=10',
    'PUT /ledger/consumers/orders',
  ]);
});

test('names the address and the status when neither path is served', async () => {
  const { client } = await startOwner([]);
  await expect(client.read(0, 1)).rejects.toThrow(/^http:\/\/127\.0\.0\.1:\d+\/ledger answered 404\.$/);
});

test('ends a request to an owner that does not answer, by the time it is given', async () => {
  let onRequest: () => void = () => undefined;
  const requested = new Promise<void>((resolve) => {
    onRequest = resolve;
  });
  const server = createServer(() => onRequest());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUps.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  const time = new ManualTime();
  const reading = eventLogClient(`http://127.0.0.1:${port}`, undefined, time).read(0, 1);
  const refused = expect(reading).rejects.toThrow('cannot be reached: no answer within 5 s');
  await requested;
  await time.advance(5000);
  await refused;
});
