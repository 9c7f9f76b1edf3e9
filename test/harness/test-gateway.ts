import { createGateway, type Gateway, type GatewayOptions, readConfig } from '@tributary/gateway';
import { pino } from 'pino';
import { afterEach } from 'vitest';
import { type Resolvers, startTestSubgraph, type TestSubgraph } from './test-subgraph.ts';

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** A subgraph that runs until the end of the test. */
export async function subgraph(sdl: string, resolvers?: Resolvers): Promise<TestSubgraph> {
  const started = await startTestSubgraph(sdl, resolvers);
  cleanUps.push(() => started.down());
  return started;
}

/** A line of a log, as an object. */
interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [detail: string]: unknown;
}

export interface TestGateway {
  readonly url: string;
  readonly gateway: Gateway;
  /** What it has logged so far, from level info on, or from LOG_LEVEL. */
  readonly logs: readonly LogLine[];
  /** What it says at `/health/ready`. */
  readiness(): Promise<{
    status: number;
    body: Readonly<Record<string, unknown>> & { degraded?: Record<string, string> };
  }>;
  /** The value of a metric, by the text that its line begins with; undefined when there is none. */
  metric(start: RegExp): Promise<number | undefined>;
}

/** A gateway that runs until the end of the test; it listens, and may not be ready yet. */
export async function gateway(env: NodeJS.ProcessEnv, options: GatewayOptions = {}): Promise<TestGateway> {
  const config = readConfig({ GATEWAY_PORT: '0', SUPERGRAPH_POLL_INTERVAL: '50ms', SUBGRAPH_TIMEOUT: '400ms', ...env });
  const logs: LogLine[] = [];
  const logger = pino(
    { level: env.LOG_LEVEL ?? 'info' },
    { write: (line: string) => void logs.push(JSON.parse(line)) },
  );
  const created = await createGateway(config, logger, options);
  created.ready.catch(() => undefined);
  cleanUps.push(() => created.close());
  const url = await created.listen();
  return {
    url,
    gateway: created,
    logs,
    async readiness() {
      const response = await fetch(`${url}/health/ready`);
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    },
    async metric(start) {
      const text = await (await fetch(`${url}/metrics`)).text();
      const line = text.split('\n').find((each) => start.test(each));
      return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(' ') + 1));
    },
  };
}

/** A gateway that is ready, over these subgraphs. */
export async function gatewayOver(
  subgraphs: Record<string, TestSubgraph>,
  env: NodeJS.ProcessEnv = {},
): Promise<TestGateway> {
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
