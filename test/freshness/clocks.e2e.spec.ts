import { InProcessBus, NatsBus } from '@tributary/bus';
import { readPositions } from '@tributary/consistency';
import { createGateway, readConfig } from '@tributary/gateway';
import { pino } from 'pino';
import { afterEach, expect, inject, test } from 'vitest';
import { ControlledBus } from '../harness/controlled-bus.ts';
import {
  createItemDatabases,
  type ItemDatabases,
  type Surroundings,
  startItems,
  startShelves,
} from '../harness/item-services.ts';
import { haveNats, startNats } from '../harness/nats.ts';
import { startTcpProxy, type TcpProxy, through } from '../harness/tcp-proxy.ts';
import { until } from '../harness/until.ts';

// The reported age of a copy or a cached entry is never too low: not when the owner's messages are slow, not when clocks differ.

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function proxyTo(host: string, port: string, delay: () => number = () => 0): Promise<TcpProxy> {
  const proxy = await startTcpProxy(host, Number(port), delay);
  cleanUps.push(() => proxy.close());
  return proxy;
}

async function databases(): Promise<ItemDatabases> {
  const created = await createItemDatabases(2);
  cleanUps.push(() => created.drop());
  return created;
}

const toPostgres = (delay?: () => number) => {
  const { hostname, port } = new URL(inject('postgresUrl'));
  return proxyTo(hostname, port, delay);
};

async function started<T extends { stop(): Promise<void> }>(starting: Promise<T>): Promise<T> {
  const service = await starting;
  cleanUps.push(() => service.stop());
  return service;
}

const send = (url: string, query: string, headers: Record<string, string> = {}) =>
  fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ query, operationName: 'Test', variables: { id: 'i0' } }),
  });
const CHANGE = 'mutation Test($id: ID!) { change(id: $id) { version } }';
const SHELF = 'query Test($id: ID!) { shelf(id: $id) { item { version } } }';

/**
 * Changes an item repeatedly, and reads the copy all the time.
 *
 * @returns the responses whose age of the copy was too low, by more than is allowed
 */
async function wrongAges(
  itemsUrl: string,
  shelvesUrl: string,
  committedAt: readonly number[],
  { changes, allowedMs = 0 }: { readonly changes: number; readonly allowedMs?: number },
) {
  const wrong: string[] = [];
  let answers = 0;
  let changing = true;
  const ask = async () => {
    while (changing) {
      const askedAt = performance.now();
      const response = await send(`${shelvesUrl}/graphql`, SHELF);
      const { position, ageMs } = readPositions(response.headers.get('x-positions') ?? '').get('items') ?? {};
      await response.text();
      answers += 1;
      if (position === undefined || typeof ageMs !== 'number') continue;
      // Positions are versions here: one item changes, and nothing else.
      const nextCommitAt = committedAt[position + 1] ?? Number.POSITIVE_INFINITY;
      if (nextCommitAt < askedAt - ageMs - allowedMs)
        wrong.push(
          `the copy at ${position} was in sync ${ageMs} ms ago; ${position + 1} was committed ${askedAt - nextCommitAt} ms ago`,
        );
    }
  };
  const asking = [ask(), ask()];
  for (let i = 0; i < changes; i++) await (await send(`${itemsUrl}/graphql`, CHANGE)).text();
  changing = false;
  await Promise.all(asking);
  expect(answers).toBeGreaterThan(changes);
  return wrong.slice(0, 5);
}

const needed = haveNats();
test.skipIf(!needed)(
  `the age of a copy counts from its owner's look at what is committed, however slow database and bus are${needed ? '' : ' (nats-server is not installed)'}`,
  async () => {
    const nats = await startNats();
    cleanUps.push(() => nats.remove());
    const items = await databases();
    const committedAt: number[] = [];
    const toNats = (delay?: () => number) => proxyTo('127.0.0.1', new URL(nats.url).port, delay);
    const busThrough = (proxy: TcpProxy, name: string) =>
      new NatsBus({ url: through(proxy, nats.url), name, logger: pino({ level: 'silent' }) });
    const slow = () => 30;
    const owner = await started(
      startItems(
        items,
        { database: await toPostgres(slow), bus: busThrough(await toNats(slow), 'items') },
        (_id, version) => {
          committedAt[version] = performance.now();
        },
      ),
    );
    const around: Surroundings = { database: await toPostgres(), bus: busThrough(await toNats(), 'shelves') };
    const shelves = await started(startShelves(items, { ...around, pollIntervalMs: 3_600_000 }, owner.url));
    await shelves.caughtUp;
    expect(await wrongAges(owner.url, shelves.url, committedAt, { changes: 40 })).toEqual([]);
  },
);

test("an owner's clock that is ahead makes no copy look fresher than it is", async () => {
  const items = await databases();
  const bus = new InProcessBus();
  const committedAt: number[] = [];
  const owner = await started(
    startItems(items, { database: await toPostgres(), bus: new ControlledBus(bus) }, (_id, version) => {
      committedAt[version] = performance.now();
    }),
  );
  const link = new ControlledBus(bus);
  link.link.aheadMs = 20_000;
  const around: Surroundings = { database: await toPostgres(), bus: link, pollIntervalMs: 3_600_000 };
  const shelves = await started(startShelves(items, around, owner.url));
  await shelves.caughtUp;
  // Its first words come at once: the clocks can be compared.
  await until(
    async () => (await send(`${shelves.url}/graphql`, SHELF)).headers.get('x-positions') ?? '',
    (positions) => (readPositions(positions).get('items')?.ageMs ?? 1000) < 250,
  );
  link.link.delayMs = 300;
  // The delay of the fastest message cannot be distinguished from an offset of the clocks.
  expect(await wrongAges(owner.url, shelves.url, committedAt, { changes: 150, allowedMs: 150 })).toEqual([]);
});

test("a service's clock that is ahead makes nothing that a gateway keeps look fresher than it is", async () => {
  const items = await databases();
  const bus = new InProcessBus();
  const owner = await started(startItems(items, { database: await toPostgres(), bus: new ControlledBus(bus) }));
  const link = new ControlledBus(bus);
  link.link.aheadMs = 20_000;
  const gateway = await createGateway(
    readConfig({ GATEWAY_PORT: '0', SUBGRAPHS: `items=${owner.url}/graphql`, SUPERGRAPH_POLL_INTERVAL: '1h' }),
    pino({ level: 'silent' }),
    { bus: link },
  );
  cleanUps.push(() => gateway.close());
  const url = await gateway.listen();
  await gateway.ready;
  const read = async (headers: Record<string, string> = {}) => {
    const response = await send(`${url}/graphql`, 'query Test($id: ID!) { item(id: $id) { version } }', {
      'x-explain': 'yes',
      ...headers,
    });
    const { data, extensions } = (await response.json()) as {
      data: { item: { version: number } };
      extensions: { explanation: { fetches: { cached: number }[] } };
    };
    return { version: data.item.version, cached: extensions.explanation.fetches.every(({ cached }) => cached > 0) };
  };
  const bound = { 'x-max-staleness': '300ms' };
  // What comes at once may be served within the bound: the clocks can be compared.
  await until(
    () => read(bound),
    ({ cached }) => cached,
  );
  link.link.delayMs = 1000;
  const ageSeconds = async () => {
    const metrics = await (await fetch(`${url}/metrics`)).text();
    return Number(/^gateway_cache_source_age_seconds\{source="items".*\} (.*)$/m.exec(metrics)?.[1]);
  };
  await until(ageSeconds, (age) => age > 0.6);
  const { version: before } = await read();
  await (await send(`${owner.url}/graphql`, CHANGE)).text();
  const changedAt = performance.now();
  await until(
    async () => performance.now() - changedAt,
    (passedMs) => passedMs > 700,
  );
  // What came in between was sent before the change.
  expect(await read(bound)).toEqual({ version: before + 1, cached: false });
});
