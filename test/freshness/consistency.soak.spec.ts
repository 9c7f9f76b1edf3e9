import { setTimeout as sleep } from 'node:timers/promises';
import { readConfig } from '@tributary/gateway/config';
import { createGateway, type Gateway } from '@tributary/gateway/gateway';
import { NatsBus } from '@tributary/shared/events/nats-bus';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { haveNats, startNats, type TestNats } from '../harness/nats.ts';
import { Random } from '../harness/random.ts';
import { haveRedis, startRedis, type TestRedis } from '../harness/redis.ts';
import { until } from '../harness/until.ts';
import { type SlowServices, startSlowServices } from './slow-services.ts';

// Clients read and write through two gateways that share a Redis and hear of changes over NATS, while answers are late and connections
// are cut. FRESHNESS_OPERATIONS is how many operations; FRESHNESS_SEED repeats what is chosen (not how it interleaves).
const OPERATIONS = Number(process.env.FRESHNESS_OPERATIONS ?? 4000);
const SEED = Number(process.env.FRESHNESS_SEED ?? 14);
const CLIENTS = 24;
const ITEMS = 12;
const BOUNDS_MS = [0, 20, 100, 400];

const silent = pino({ level: 'silent' });

interface Node {
  readonly gateway: Gateway;
  readonly url: string;
}

async function startGateway(services: SlowServices, nats: TestNats, redis: TestRedis): Promise<Node> {
  const config = readConfig({
    GATEWAY_PORT: '0',
    SUBGRAPHS: `items=${services.urls.items},shelves=${services.urls.shelves}`,
    SUPERGRAPH_POLL_INTERVAL: '1h',
    NATS_URL: nats.url,
    REDIS_URL: redis.url,
  });
  const gateway = await createGateway(config, silent);
  const url = await gateway.listen();
  await gateway.ready;
  return { gateway, url };
}

class Violations {
  readonly #found: string[] = [];
  check(holds: boolean, what: () => string): void {
    if (!holds) this.#found.push(what());
  }
  get found(): readonly string[] {
    return this.#found;
  }
}

const needed = haveNats() && haveRedis();

test.skipIf(!needed)(
  `${OPERATIONS} reads and writes through two gateways (seed ${SEED})${needed ? '' : ' (nats-server or redis-server is not installed)'}`,
  { timeout: 60_000 + OPERATIONS * 10 },
  async () => {
    const random = new Random(SEED);
    const [nats, redis] = await Promise.all([startNats(), startRedis()]);
    const bus = new NatsBus({ url: nats.url, name: 'services', logger: silent });
    // Connects it.
    await bus.listen('items', { onTouches: () => undefined });
    const services = await startSlowServices(bus, random, ITEMS);
    const nodes = await Promise.all([startGateway(services, nats, redis), startGateway(services, nats, redis)]);
    await until(
      async () => nodes.map(({ url }) => url),
      () => true,
    );
    const violations = new Violations();
    const counts = { reads: 0, writes: 0, cached: 0, switched: 0 };
    let left = OPERATIONS;

    /** What a client reads of an item, by one of several ways. */
    const read = async (node: Node, id: string, headers: Record<string, string>): Promise<number> => {
      const [query, pick] = random.pick<[string, (data: never) => number]>([
        [`{ item(id: "${id}") { version } }`, (data: { item: { version: number } }) => data.item.version],
        [
          `{ shelf(id: "${id}") { item { version } } }`,
          (data: { shelf: { item: { version: number } } }) => data.shelf.item.version,
        ],
        [
          `{ shelf(id: "${id}") { item { size } } }`,
          (data: { shelf: { item: { size: number } } }) => data.shelf.item.size,
        ],
        [
          '{ items { id version } }',
          (data: { items: { id: string; version: number }[] }) =>
            data.items.find((item) => item.id === id)?.version ?? -1,
        ],
      ]);
      const response = await fetch(`${node.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-explain': 'yes', ...headers },
        body: JSON.stringify({ query }),
      });
      const { data, errors, extensions } = (await response.json()) as {
        data: never;
        errors?: unknown;
        extensions: { explanation: { switched: boolean; fetches: { cached: number }[] } };
      };
      if (errors) throw new Error(JSON.stringify(errors));
      const { switched, fetches } = extensions.explanation;
      if (switched) counts.switched += 1;
      if (fetches.some(({ cached }) => cached > 0)) counts.cached += 1;
      return pick(data);
    };

    const client = async () => {
      let session: { token: string; versions: Map<string, number> } | null = null;
      while (left > 0) {
        left -= 1;
        const node = random.pick(nodes);
        const id = random.pick(services.ids);
        if (random.next() < 0.1) {
          counts.writes += 1;
          const response = await fetch(`${node.url}/graphql`, {
            method: 'POST',
            headers: { 'content-type': 'application/json', ...(session && { 'x-session-token': session.token }) },
            body: JSON.stringify({ query: `mutation { change(id: "${id}") { version } }` }),
          });
          const { data } = (await response.json()) as { data: { change: { version: number } } };
          const versions: Map<string, number> = session?.versions ?? new Map();
          versions.set(id, Math.max(versions.get(id) ?? 0, data.change.version));
          session = { token: response.headers.get('x-session-token') as string, versions };
          if (random.next() < 0.1) session = null;
          continue;
        }
        counts.reads += 1;
        const usesSession = session !== null && random.next() < 0.6;
        const bound = random.next() < 0.3 ? random.pick(BOUNDS_MS) : null;
        const heard = node.gateway.heard('items');
        const startedAt = performance.now();
        const version = await read(node, id, {
          ...(usesSession && session && { 'x-session-token': session.token }),
          ...(bound !== null && { 'x-max-staleness': `${bound}ms` }),
        });
        const known = services.versionAt(id, heard);
        violations.check(version >= known, () => `${id}: version ${version}, and ${known} was heard of before`);
        const own = (usesSession && session?.versions.get(id)) || 0;
        violations.check(version >= own, () => `${id}: version ${version}, and the session wrote ${own}`);
        if (bound === null) continue;
        const replacedAt = services.histories.get(id)?.[version + 1] ?? Number.POSITIVE_INFINITY;
        const staleMs = startedAt - replacedAt;
        violations.check(
          staleMs <= bound,
          () => `${id}: version ${version} is ${staleMs} ms old, the bound is ${bound}`,
        );
      }
    };

    /** Cuts and stops what carries changes and keeps entries. */
    const trouble = async () => {
      const total = OPERATIONS;
      for (const part of [0.2, 0.4, 0.6, 0.8]) {
        while (left > total * (1 - part)) await sleep(20);
        if (left === 0) return;
        if (part === 0.2) {
          await nats.kill();
          await sleep(300);
          await nats.start();
        } else if (part === 0.4) {
          await redis.kill();
          await sleep(200);
          await redis.start();
        } else if (part === 0.6) {
          redis.signal('SIGSTOP');
          await sleep(400);
          redis.signal('SIGCONT');
        } else {
          await nats.kill();
          await sleep(2500);
          await nats.start();
        }
      }
    };

    try {
      await Promise.all([...Array.from({ length: CLIENTS }, client), trouble()]);
    } finally {
      await services.stop();
      await Promise.all(nodes.map(({ gateway }) => gateway.close()));
      await bus.close();
      await Promise.all([nats.remove(), redis.kill()]);
    }
    process.stdout.write(`  ${JSON.stringify(counts)}, seed ${SEED}, ${violations.found.length} violations\n`);
    expect(violations.found.slice(0, 10)).toEqual([]);
    expect(counts.cached).toBeGreaterThan(OPERATIONS / 50);
  },
);
