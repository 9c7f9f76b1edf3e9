import { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { startGraph } from '../harness/graph.ts';
import { haveRedis, startRedis } from '../harness/redis.ts';
import { until } from '../harness/until.ts';

const needed = haveRedis();
const NAME = 'Claire Gute';

test.skipIf(!needed)(
  `within 5 s of a user's deletion neither cache holds anything personal of them${needed ? '' : ' (redis-server is not installed)'}`,
  { timeout: 120_000 },
  async () => {
    const redis = await startRedis();
    const client = new Redis(redis.url);
    client.on('error', () => undefined);
    const graph = await startGraph({ gatewayEnv: { REDIS_URL: redis.url } });
    onTestFinished(async () => {
      client.disconnect();
      await graph.stop();
      await redis.kill();
    });
    const stored = async () => {
      const keys = (await client.keys('*')).filter((key) => !key.endsWith(':lease'));
      return keys.length === 0 ? [] : await client.mget(keys);
    };
    const holding = async () => (await stored()).filter((value) => value?.includes(NAME)).length;
    // As the owner has it, and as an order shows it from its copy. Each attempt uses another alias.
    let attempts = 0;
    await until(
      async () => {
        attempts += 1;
        const queries = [
          `query User { user(id: "CG-12520") { n${attempts}: name email } }`,
          `query Order { order(number: "CA-2016-152156") { customer { n${attempts}: name } } }`,
        ];
        for (const query of queries) expect((await graph.ask(query)).errors).toBeUndefined();
        return holding();
      },
      (count) => count >= 2,
    );
    const { errors } = await graph.ask('mutation Delete($id: ID!) { deleteUser(id: $id) { id } }', { id: 'CG-12520' });
    expect(errors).toBeUndefined();
    await until(holding, (count) => count === 0, 5000);
    const { data } = await graph.ask('query Order { order(number: "CA-2016-152156") { customer { name } } }');
    expect(JSON.stringify(data)).not.toContain(NAME);
  },
);
