import { readConfig } from '@tributary/gateway/config';
import { createGateway } from '@tributary/gateway/gateway';
import { InProcessBus } from '@tributary/shared/events/in-process-bus';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { startGraph } from '../harness/graph.ts';
import { ask } from '../harness/graphql-client.ts';
import { haveRedis, startRedis } from '../harness/redis.ts';
import { until } from '../harness/until.ts';

const QUERY = '{ product(id: "FUR-BO-10001798") { name price { amount } } }';
const needed = haveRedis();

test.skipIf(!needed)(
  `gateways share what they keep, and go on without Redis, whatever becomes of it${needed ? '' : ' (redis-server is not installed)'}`,
  { timeout: 60_000 },
  async () => {
    const redis = await startRedis();
    const bus = new InProcessBus();
    const graph = await startGraph({ bus, gatewayEnv: { REDIS_URL: redis.url } });
    const other = await createGateway(
      readConfig({
        GATEWAY_PORT: '0',
        SUBGRAPHS: ['users', 'products', 'orders']
          .map((name) => `${name}=${graph.urls[name as 'users']}/graphql`)
          .join(),
        REDIS_URL: redis.url,
        SUPERGRAPH_POLL_INTERVAL: '1h',
      }),
      pino({ level: 'silent' }),
      bus,
    );
    const otherUrl = await other.listen();
    await other.ready;
    const urls = [graph.urls.gateway, otherUrl];
    const explained = async (url: string) => {
      const { data, errors, extensions } = await ask(url, QUERY, {}, { 'x-explain': 'yes' });
      expect(errors).toBeUndefined();
      const { fetches, durationMs } = (
        extensions as { explanation: { fetches: { cached: number }[]; durationMs: number } }
      ).explanation;
      return { amount: data.product.price.amount, cached: fetches.every(({ cached }) => cached > 0), durationMs };
    };
    const change = async (amount: string) => {
      const { headers } = await fetch(`${graph.urls.gateway}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ query: `mutation { changePrice(id: "FUR-BO-10001798", price: "${amount}") { id } }` }),
      });
      expect(headers.get('x-session-token')).toBeTruthy();
      for (const url of urls) {
        await until(
          () => explained(url),
          (answer) => answer.amount === amount,
        );
      }
    };
    try {
      // One reads, and the other has it. (Each attempt with another product: what the other has read once, it has itself.)
      const ids = (await ask(otherUrl, '{ products(first: 50) { nodes { id } } }')).data.products.nodes as {
        id: string;
      }[];
      await until(
        async () => {
          const query = `{ product(id: "${ids.pop()?.id}") { name } }`;
          await ask(graph.urls.gateway, query);
          graph.statements.products.length = 0;
          expect((await ask(otherUrl, query)).errors).toBeUndefined();
          return graph.statements.products.length;
        },
        (statements) => statements === 0,
      );
      // Both miss at the same moment: one fetches.
      await until(
        async () => {
          const query = `{ product(id: "${ids.pop()?.id}") { sku category } }`;
          graph.statements.products.length = 0;
          await Promise.all(urls.map((url) => ask(url, query)));
          return graph.statements.products.length;
        },
        (statements) => statements === 1,
      );
      await change('70.00');

      // Paused: nobody waits for it long, nor for long.
      redis.signal('SIGSTOP');
      const times: number[] = [];
      for (let i = 0; i < 10; i++) {
        await change(`71.0${i}`);
        times.push((await explained(otherUrl)).durationMs);
      }
      expect(times.filter((ms) => ms > 500)).toEqual([]);
      expect(await (await fetch(`${otherUrl}/metrics`)).text()).toMatch(
        /gateway_cache_redis_failures_total\{.*\} [1-9]/,
      );
      redis.signal('SIGCONT');
      await change('72.00');

      await redis.kill();
      await change('73.00');
      await redis.start();
      await change('74.00');
    } finally {
      await other.close();
      await graph.stop();
      await redis.kill();
    }
  },
);
