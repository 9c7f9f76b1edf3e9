import { InProcessBus } from '@tributary/bus';
import { readPositions } from '@tributary/consistency';
import { pino } from 'pino';
import { afterEach, describe, expect, inject, test } from 'vitest';
import { ControlledBus } from '../../../test/harness/controlled-bus.ts';
import { ask, type GraphQLAnswer } from '../../../test/harness/graphql-client.ts';
import { startHeldSubgraph } from '../../../test/harness/held-subgraph.ts';
import { createItemDatabases, startItems } from '../../../test/harness/item-services.ts';
import { startTcpProxy, through } from '../../../test/harness/tcp-proxy.ts';
import { until } from '../../../test/harness/until.ts';
import { createGateway } from '../../src/app.js';
import { readConfig } from '../../src/config.js';

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function startGateway(subgraphs: Record<string, string>, bus: ControlledBus | InProcessBus) {
  const SUBGRAPHS = Object.entries(subgraphs)
    .map(([name, url]) => `${name}=${url}/graphql`)
    .join();
  const config = readConfig({ GATEWAY_PORT: '0', SUBGRAPHS, SUPERGRAPH_POLL_INTERVAL: '1h' });
  const gateway = await createGateway(config, pino({ level: 'silent' }), { bus });
  cleanUps.push(() => gateway.close());
  const url = await gateway.listen();
  await gateway.ready;
  return { gateway, url };
}

test('a late invalidation does not bring back what a later one has invalidated', async () => {
  const databases = await createItemDatabases(1);
  cleanUps.push(() => databases.drop());
  const bus = new InProcessBus();
  const { hostname, port } = new URL(inject('postgresUrl'));
  const startInstance = async () => {
    const database = await startTcpProxy(hostname, Number(port));
    const connection = new ControlledBus(bus);
    const items = await startItems(databases, { database, bus: connection });
    cleanUps.push(async () => {
      await items.stop();
      await database.close();
    });
    const positions = async () => {
      const response = await fetch(`${items.url}/graphql?query=${encodeURIComponent('{ items { id } }')}`);
      return readPositions(response.headers.get('x-positions') ?? '').get('items')?.position;
    };
    return { connection, url: items.url, positions };
  };
  const [first, second] = [await startInstance(), await startInstance()];
  const way = await startTcpProxy('127.0.0.1', Number(new URL(first.url).port));
  cleanUps.push(() => way.close());
  const connection = new ControlledBus(bus);
  const { gateway, url } = await startGateway({ items: through(way, first.url) }, connection);
  const read = async (headers: Record<string, string> = {}) => {
    const answer = await ask(
      url,
      'query Read($id: ID!) { item(id: $id) { version } }',
      { id: 'i0' },
      { 'x-explain': 'yes', ...headers },
    );
    const { fetches } = (answer.extensions as { explanation: { fetches: { cached: number }[] } }).explanation;
    return { version: answer.data.item.version, cached: fetches.every(({ cached }) => cached > 0) };
  };
  const change = (at: string) => ask(at, 'mutation Change($id: ID!) { change(id: $id) { version } }', { id: 'i0' });
  await until(second.positions, (position) => position === 0);
  await until(
    () => read(),
    ({ cached }) => cached,
  );

  // The gateway and the second instance receive nothing for a while; the first one changes the item, and the gateway reads from it.
  connection.hold();
  second.connection.hold();
  expect((await change(first.url)).errors).toBeUndefined();
  await until(first.positions, (position) => position === 1);
  expect((await read({ 'x-max-staleness': '0' })).version).toBe(1);
  expect(await read()).toEqual({ version: 1, cached: true });
  // The second one changes it again. Its response carries the invalidations of both changes.
  way.redirect(Number(new URL(second.url).port));
  const changed = await until(
    () => change(url),
    ({ errors }) => !errors,
  );
  const { version } = changed.data.change;
  expect(gateway.watermark('items')).toBe(version);
  // Only now comes the invalidation of the first change.
  await until(
    async () => connection.letGo(),
    (invalidations) => invalidations !== undefined && invalidations.touched.length > 0,
  );
  expect((await read()).version).toBe(version);
});

/** Reports to the gateway at intervals that a source has no new events. */
function heartbeats(bus: InProcessBus, source: string): { position: number } {
  const state = { position: 5 };
  const beat = () =>
    bus.publishInvalidations(source, { from: state.position, to: state.position, at: Date.now(), touched: [] });
  beat();
  const timer = setInterval(beat, 100);
  cleanUps.push(async () => clearInterval(timer));
  return state;
}

const ITEM = 'type Item @key(fields: "id") @cacheControl { id: ID! version: Int! }';

test('a request after a gap in the invalidations does not get what was fetched before the gap', async () => {
  let version = 1;
  const subgraph = await startHeldSubgraph(`type Query { item(id: ID!): Item @cacheControl } ${ITEM}`, {
    Query: { item: (_: unknown, { id }: { id: string }) => ({ id, version }) },
  });
  cleanUps.push(() => subgraph.stop());
  subgraph.positions = 'items=5';
  const bus = new InProcessBus();
  const { gateway, url } = await startGateway({ items: subgraph.url }, bus);
  const source = heartbeats(bus, 'items');
  const read = () => ask(url, 'query Read($id: ID!) { item(id: $id) { version } }', { id: 'a' });
  // From now on the gateway has a position of the source.
  expect((await ask(url, 'query Read($id: ID!) { item(id: $id) { version } }', { id: 'b' })).data.item.version).toBe(1);
  const before = subgraph.requests.length;
  subgraph.holds = () => true;
  const first = read();
  await until(
    async () => subgraph.requests.length,
    (length) => length === before + 1,
  );
  // The invalidation is lost; the position of the next message shows that there was one.
  version = 2;
  source.position = 9;
  subgraph.positions = 'items=9';
  subgraph.holds = () => false;
  await until(
    async () => gateway.watermark('items'),
    (position) => position === 9,
  );
  expect((await read()).data.item.version).toBe(2);
  subgraph.answer();
  expect((await first).errors).toBeUndefined();
});

test('messages without a time do not affect the clock offset, and a new leader has a clock of its own', async () => {
  const subgraph = await startHeldSubgraph(`type Query { item(id: ID!): Item @cacheControl } ${ITEM}`, {
    Query: { item: (_: unknown, { id }: { id: string }) => ({ id, version: 1 }) },
  });
  cleanUps.push(() => subgraph.stop());
  const bus = new InProcessBus();
  const { gateway, url } = await startGateway({ items: subgraph.url }, bus);
  const read = async (name: string) => {
    const metrics = await (await fetch(`${url}/metrics`)).text();
    return Number(new RegExp(`^${name}\\{source="items".*\\} (.*)$`, 'm').exec(metrics)?.[1] ?? 0);
  };
  const invalidate = (from: number, to: number, at: number, term: number) =>
    bus.publishInvalidations('items', { from, to, at, term, touched: [] });
  for (let i = 0; i < 41; i++) invalidate(i, i + 1, 0, 5);
  expect(await read('clock_offset_seconds')).toBe(0);
  invalidate(41, 41, Date.now() + 20_000, 5);
  expect(await read('clock_offset_seconds')).toBeGreaterThan(19);
  // The clock was set right, and the process started again.
  invalidate(41, 41, Date.now(), 6);
  expect(await read('clock_offset_seconds')).toBeLessThan(1);
  // Terms are lower after the owner's database was restored; the bus accepts them after a while.
  invalidate(41, 42, Date.now(), 4);
  expect(gateway.watermark('items')).toBe(42);
});

describe('what one request fetches and another one waits for', () => {
  test('is available as soon as it was fetched, whatever else the first request waits for', async () => {
    const items = await startHeldSubgraph(`type Query { item(id: ID!): Item } ${ITEM}`, {
      Item: { __resolveReference: ({ id }: { id: string }) => ({ id, version: 1 }) },
    });
    const shelves = await startHeldSubgraph(
      'type Query { shelf(id: ID!): Shelf } type Shelf { item: Item! } type Item @key(fields: "id", resolvable: false) { id: ID! }',
      { Query: { shelf: (_: unknown, { id }: { id: string }) => ({ item: { id } }) } },
    );
    for (const subgraph of [items, shelves]) cleanUps.push(() => subgraph.stop());
    [items.positions, shelves.positions] = ['items=5', 'shelves=5'];
    const bus = new InProcessBus();
    const { url } = await startGateway({ items: items.url, shelves: shelves.url }, bus);
    heartbeats(bus, 'items');
    heartbeats(bus, 'shelves');
    const shelf = (id: string): Promise<GraphQLAnswer> =>
      ask(url, 'query Shelf($id: ID!) { shelf(id: $id) { item { version } } }', { id });
    const two =
      'query Shelf($a: ID!, $b: ID!) { a: shelf(id: $a) { item { version } } b: shelf(id: $b) { item { version } } }';

    items.holds = (body) => body.includes('\\"slow\\"') || body.includes('"slow"');
    const slow = shelf('slow');
    const asked = (id: string) =>
      until(
        async () => items.requests.filter((body) => body.includes(`"${id}"`)).length,
        (count) => count > 0,
      );
    await asked('slow');
    // Fetches one item, and waits for the other one.
    const both = ask(url, two, { a: 'quick', b: 'slow' });
    await asked('quick');
    expect((await shelf('quick')).data.shelf.item.version).toBe(1);
    items.answer();
    expect((await both).data.b.item.version).toBe(1);
    expect((await slow).errors).toBeUndefined();
  });
});
