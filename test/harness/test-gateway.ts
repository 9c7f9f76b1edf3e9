import { readConfig } from '@tributary/gateway/config';
import { createGateway, type Gateway } from '@tributary/gateway/gateway';
import { pino } from 'pino';
import { afterEach } from 'vitest';
import { startTestSubgraph, type TestSubgraph } from './test-subgraph.ts';

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** A subgraph that runs until the end of the test. */
export async function subgraph(sdl: string): Promise<TestSubgraph> {
  const started = await startTestSubgraph(sdl);
  cleanUps.push(() => started.down());
  return started;
}

/** A gateway that runs until the end of the test; it listens, and may not be ready yet. */
export async function gateway(env: NodeJS.ProcessEnv): Promise<{ url: string; gateway: Gateway }> {
  const config = readConfig({ GATEWAY_PORT: '0', SUPERGRAPH_POLL_INTERVAL: '50ms', SUBGRAPH_TIMEOUT: '400ms', ...env });
  const created = await createGateway(config, pino({ level: 'silent' }));
  created.ready.catch(() => undefined);
  cleanUps.push(() => created.close());
  return { url: await created.listen(), gateway: created };
}

/** A gateway that is ready, over these subgraphs. */
export async function gatewayOver(subgraphs: Record<string, TestSubgraph>, env: NodeJS.ProcessEnv = {}) {
  const started = await gateway({ ...over(subgraphs), ...env });
  await started.gateway.ready;
  return started;
}

/** The environment that names subgraphs to a gateway. */
export const over = (subgraphs: Record<string, TestSubgraph>) => ({
  SUBGRAPHS: Object.entries(subgraphs)
    .map(([name, { url }]) => `${name}=${url}`)
    .join(),
});
